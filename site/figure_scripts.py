"""Sphinx extension: the interactive figures' scripts and stylesheet, written into the built site's _static."""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

import cnnbook.figures
from cnnbook.figures.base import HERE, bundle

NAMES = sorted(path.stem for path in HERE.glob("*.js") if path.stem != "kit")


def classic(name: str) -> str:
    """A figure's module as a classic script: browsers refuse ES modules on file:// pages."""
    text = re.sub(r"^export default ", "const figure = ", bundle(name), flags=re.M)
    text = re.sub(r"^export ", "", text, flags=re.M)
    return f"(() => {{\n{text}\nwindow.cnnbookFigures[{name!r}] = figure;\n}})();\n"


def stylesheet() -> str:
    """kit.css first, then every figure's own."""
    own = (path for path in sorted(HERE.glob("*.css")) if path.stem != "kit")
    return "\n".join(path.read_text(encoding="utf-8") for path in (HERE / "kit.css", *own))


def write(app, exception) -> None:
    """After the build: _static/figures/<name>.js, _static/figures.css and _static/loader.js."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    (static / "figures").mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (static / "figures" / f"{name}.js").write_text(classic(name), encoding="utf-8")
    (static / "figures.css").write_text(stylesheet(), encoding="utf-8")
    (static / "loader.js").write_text(
        (Path(__file__).parent / "loader.js").read_text(encoding="utf-8"), encoding="utf-8"
    )


class FigureLive(Directive):
    """A figure in its starting state on a page that is no notebook: {figure-live} ClassName."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        figure = getattr(cnnbook.figures, self.arguments[0])()
        return [nodes.raw("", figure.page_html(), format="html")]


def setup(app) -> dict:
    app.add_directive("figure-live", FigureLive)
    app.add_css_file("figures.css")
    app.add_js_file("loader.js", loading_method="defer")
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
