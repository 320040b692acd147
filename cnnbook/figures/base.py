"""The base of every interactive figure."""

import html
import json
import re
from functools import cache
from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


@cache
def bundle(name: str) -> str:
    """The figure's ES module as one self-contained text: its import of ./kit.js replaced by the kit itself."""
    source = (HERE / f"{name}.js").read_text(encoding="utf-8")
    kit = re.sub(r"^export ", "", (HERE / "kit.js").read_text(encoding="utf-8"), flags=re.M)
    return re.sub(r'^import \{[^}]*\} from "\./kit\.js";$', lambda _: kit, source, count=1, flags=re.M)


@cache
def style(name: str) -> str:
    """The shared stylesheet, followed by the figure's own where it has one."""
    own = HERE / f"{name}.css"
    return (HERE / "kit.css").read_text(encoding="utf-8") + (own.read_text(encoding="utf-8") if own.exists() else "")


def whole_number(proposal: traitlets.Bunch, limits: dict[str, tuple[int, int]]) -> int:
    """A proposed trait's value, for use in a validator; TraitError where it is outside its limits or an even kernel."""
    name, value = proposal["trait"].name, proposal["value"]
    least, most = limits[name]
    if isinstance(value, bool) or not least <= value <= most:
        raise traitlets.TraitError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    if name == "kernel" and value % 2 == 0:
        raise traitlets.TraitError(f"kernel must be odd, so that 'same' padding is equal on both sides, got {value}")
    return value


class Figure(anywidget.AnyWidget):
    """A figure named by `figure` (its .js file). Synced traits are its state; `fallback` is what shows without JS."""

    figure: str

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "figure" in vars(cls):  # not in the subclass that ipywidgets makes of each instance
            cls._esm, cls._css = bundle(cls.figure), style(cls.figure)

    def state(self) -> dict:
        """The synced traits that a figure adds to those of every widget, as the site's loader gets them."""
        names = set(self.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return {name: getattr(self, name) for name in sorted(names) if not name.startswith("_")}

    def fallback(self) -> str:
        """HTML shown where no script runs: a table or a list that says what the figure says."""
        raise NotImplementedError(f"{type(self).__name__} needs a fallback() that returns HTML")

    def page_html(self) -> str:
        """What a static page carries: the state for the site's loader around the fallback."""
        state = html.escape(json.dumps(self.state(), ensure_ascii=False, sort_keys=True))
        return f'<div data-figure="{self.figure}" data-state="{state}">{self.fallback()}</div>'

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live, {})
        return {**data, "text/plain": repr(self), "text/html": self.page_html()}, metadata
