"""Scripts of others that pages use. They lie in Python packages, so nothing is vendored and nothing downloaded."""

from __future__ import annotations

import re
from importlib.resources import files

#: The last statement of the bundle, as `export{a as DateTime,b as ITable,c as default,d as jQuery}`.
EXPORT = re.compile(r"export\s*\{([^}]*)\};?")


def plotly_script() -> str:
    """Plotly's own script, about 5 MB. Its global is `Plotly`."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def tables_script() -> str:
    """DataTables with its extensions and jQuery, about 600 kB, as a script whose global is `DataTable`.

    itables carries a JavaScript module; modules cannot be linked in pages that are opened from a disk.

    Raises:
        RuntimeError: the installed itables is of another form.
    """
    bundle = files("itables").joinpath("html", "dt_bundle.js").read_text(encoding="utf-8")
    found = EXPORT.findall(bundle)
    names = dict(reversed(pair.split(" as ")) for pair in found[0].split(",") if " as " in pair) if found else {}
    if len(found) != 1 or "default" not in names:
        raise RuntimeError("the installed itables carries DataTables in a form that detkit does not know")
    return "(()=>{" + EXPORT.sub(lambda _match: f"window.DataTable={names['default']};", bundle) + "\n})();"


def tables_style() -> str:
    """The style of DataTables."""
    return files("itables").joinpath("html", "dt_bundle.css").read_text(encoding="utf-8")
