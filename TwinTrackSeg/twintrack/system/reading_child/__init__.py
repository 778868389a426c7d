"""A child process for readers whose code is not ours: a file that kills a decoder kills the child, and is named.

`read_in_child` calls a function of the engine there, by the name that `FUNCTIONS` lists. There is one child a process:
started when first needed, kept for the next call, ended when idle for two seconds, started anew after a death. Calls
from several threads take turns.

What crosses: arguments and results are pickled, both ends are this program. Arrays in a result (contiguous ones, at any
depth) come in memory that both processes share, so that the pipe carries no voxels; it has no name in any file system
and is gone with the last process that holds it, however that ends. What is logged and told to `progress` comes back;
the child has neither the terminal nor the standard streams of the command.

Limits: seconds (in proportion to the input's bytes) and memory. The child is killed when the time is over, when the
caller is cancelled or interrupted, or when `progress` raises; so a function there must leave nothing that it alone
would clean up. A folder that a result needs for longer is made by the caller (`PrivateFolder`) and passed as a path.
When the calling process dies, the child ends too; where native code holds the interpreter, at its time limit.
"""

from twintrack.system.reading_child.parent import FUNCTIONS, ReadingChild, read_in_child, time_limit_s

__all__ = ["FUNCTIONS", "ReadingChild", "read_in_child", "time_limit_s"]
