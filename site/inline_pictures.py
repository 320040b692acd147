"""Sphinx extension: SVG outputs of notebooks go into the page itself, so that they follow its light or dark theme."""

from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform


class InlinePictures(SphinxTransform):
    """Replaces an image node of an executed cell's SVG by the SVG's own text; its aria-label is the alt text."""

    default_priority = 400

    def apply(self) -> None:
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir, image["uri"].lstrip("/"))
            if path.suffix == ".svg" and path.exists():
                svg = path.read_text(encoding="utf-8")
                image.replace_self(nodes.raw("", f'<figure class="cb-picture">{svg}</figure>', format="html"))


def setup(app) -> dict:
    app.add_transform(InlinePictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
