"""Sphinx extension: what the theme needs to be light, accessible and silent towards other hosts."""

import logging
import re
import shutil
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset

HERE = Path(__file__).parent
logging.getLogger("fontTools").setLevel(logging.ERROR)
KATEX = HERE.parent / "node_modules" / "katex" / "dist"
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
WEBFONTS = Path("vendor") / "fontawesome" / "webfonts"


def override_templates(app, config) -> None:
    """Theme templates with one thing changed each, written to a folder that Sphinx reads first."""
    folder = Path(app.doctreedir).parent / "templates"
    # fontawesome.js weighs 530 KB compressed and draws nothing that its webfont does not.
    _patch(folder, "static/webpack-macros.html", r"<script defer [^>]*fontawesome\.js[^>]*></script>", "")
    # A button that shows "Search Ctrl+K" and is named "Search" has two names; the shown one is enough. Bootstrap's
    # tooltip would put the other one back.
    _patch(folder, "components/search-button-field.html", r' title="[^>]*data-bs-toggle="tooltip"', "")
    config.templates_path.insert(0, str(folder))


def _patch(folder: Path, name: str, pattern: str, replacement: str) -> None:
    """Write the theme's template `name` with its one match replaced; RuntimeError where the theme has changed."""
    text, count = re.subn(pattern, replacement, (THEME / name).read_text(encoding="utf-8"))
    if count != 1:
        raise RuntimeError(f"the theme's {name} has {count} matches for {pattern!r}, expected 1: mend theme_fixes.py")
    target = folder / name.removeprefix("components/")  # the theme looks its components up by bare name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def mend_page(app, pagename, templatename, context, doctree) -> None:
    """Take sphinx-thebe off the page, and roles and labels that say something wrong to a screen reader."""
    # thebe throws a script error on every page and names another host even where it is off
    context["script_files"] = [file for file in context["script_files"] if "thebe" not in _text(file)]
    context["css_files"] = [file for file in context["css_files"] if "thebe" not in _text(file)]
    body = context.get("body", "")
    for pattern, replacement in MENDED:
        body = re.sub(pattern, replacement, body, flags=re.S)
    context["body"] = body


MENDED = (
    (r'<script type="text/x-thebe-config">.*?</script>', ""),
    (r"<script>kernelName = '[^']*'</script>", ""),
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),  # its children are no list items
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),  # it hides the text that the summary shows
)


def _text(file) -> str:
    """What Sphinx knows of a script or stylesheet: its name or its inline text."""
    return f"{file.filename} {file.attributes.get('body')}".lower()


def finish(app, exception) -> None:
    """After the build: KaTeX's stylesheet and fonts, the book's stylesheet, and icon fonts cut to the icons in use."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    _copy_katex(static / "katex")
    shutil.copy(HERE / "book.css", static / "book.css")
    for unused in [static / "scripts" / "fontawesome.js", *static.rglob("*.map"), *static.rglob("*.ttf")]:
        unused.unlink(missing_ok=True)
    _subset_icons(Path(app.outdir))


def _copy_katex(target: Path) -> None:
    if not KATEX.exists():
        raise RuntimeError("node_modules/katex is missing: run `npm ci` (make book does)")
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = (KATEX / "katex.min.css").read_text(encoding="utf-8")
    # woff2 alone: every browser that runs the figures reads it
    css = re.sub(r",url\([^)]*\.(?:woff|ttf)\) format\(\"[a-z]+\"\)", "", css)
    (target / "katex.min.css").write_text(css, encoding="utf-8")
    for font in (KATEX / "fonts").glob("*.woff2"):
        shutil.copy(font, target / "fonts" / font.name)


def _subset_icons(outdir: Path) -> None:
    """Cut Font Awesome's webfonts to the icons that the built pages and the theme's scripts name."""
    names = set()
    for path in [
        *outdir.rglob("*.html"),
        *(outdir / "_static" / "scripts").glob("*.js"),
        *(outdir / "_static").glob("*.js"),
    ]:
        names.update(re.findall(r"fa-([a-z0-9-]+)", path.read_text(encoding="utf-8")))
    css = (THEME / "static" / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    rules = re.findall(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"', css)
    codes = {name: code for selectors, code in rules for name in re.findall(r"\.fa-([\w-]+):", selectors)}
    wanted = {int(codes[name], 16) for name in names if name in codes}
    for font in (THEME / "static" / WEBFONTS).glob("*.woff2"):
        options = subset.Options(flavor="woff2", layout_features=[], notdef_outline=True)
        face = subset.load_font(str(font), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=wanted)
        cutter.subset(face)
        subset.save_font(face, str(outdir / "_static" / WEBFONTS / font.name), options)


def setup(app) -> dict:
    app.add_css_file("book.css")
    app.connect("config-inited", override_templates)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
