"""The line that says which processor will run, runs or gave way, and how much memory it has."""

from slicer.i18n import tr as _

from TwinTrackSegLib.mrml.worker.WorkerEvents import processorFor

__all__ = ["ProcessorLine", "processorText"]

GIGABYTE = 1e9


class ProcessorLine:
    """Keeps the line up to date.

    Parameters
    ----------
    label : QLabel
        Where the line stands; hidden while there is nothing to say.
    logic : TwinTrackSegLogic
        Knows what the model's process found and took.
    inputs : InputsPanel
        Knows what the user asks for.
    """

    def __init__(self, label, logic, inputs) -> None:
        self._label, self._logic, self._inputs = label, logic, inputs
        self.update()

    def update(self, *_arguments) -> None:
        """Say what is known now; called when the process is ready, at a choice, and during a run."""
        text = self._text()
        if text != self._label.text:
            self._label.text = text
        self._label.visible = bool(text)

    def _text(self) -> str:
        logic = self._logic
        if logic.running and logic.processor is not None:
            running = _("Runs on {processor}").format(processor=processorText(logic.processor))
            return "\n".join([running, *logic.notes])
        if not logic.processors:
            return ""
        taken = processorFor(self._inputs.device, logic.processors)
        if taken is not None:
            return _("Will run on {processor}").format(processor=processorText(taken))
        found = ", ".join(processorText(each) for each in logic.processors)
        return _("The chosen processor was not found; there is {found}").format(found=found)


def processorText(processor) -> str:
    """Return name and memory of a processor for people."""
    names = {"cpu": _("the CPU"), "mps": _("Apple graphics")}
    name = processor.title or names.get(processor.kind, processor.device)
    if processor.totalBytes is None:
        return name
    total = f"{processor.totalBytes / GIGABYTE:.0f}"
    if processor.freeBytes is None:
        return _("{name}: {total} GB of memory").format(name=name, total=total)
    free = f"{processor.freeBytes / GIGABYTE:.1f}"
    return _("{name}: {free} of {total} GB of memory free").format(name=name, free=free, total=total)
