"""The front ends: scene and engine (``mrml``), words and decisions (``present``), Qt (``gui``), a page (``web``)."""  # noqa: N999
