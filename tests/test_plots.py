"""Pictures: their alt text, their colours, their bytes, and the pixels and numbers that are in them."""

import base64
import html
import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from cnnbook import plots
from cnnbook.figures.base import HERE

ALT = 'Two lines "rise" & cross <once>: that\'s at three, not before'
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"


@pytest.fixture(autouse=True)
def no_figure_left_open():
    """Whatever a call does, and where it raises as well, it leaves no figure to be drawn later."""
    plt.close("all")
    yield
    assert plt.get_fignums() == []


def drawing() -> plt.Figure:
    """A figure with everything that makes ids and colours: markers, clipping, a grid, text, hatches, an image."""
    fig, ax = plt.subplots()
    for color in (plots.INPUT, plots.KERNEL, plots.OUTPUT, plots.ACCENT, plots.MUTED):
        ax.plot([1, 2, 5], [3, 4, 2], marker="o", color=color)
    ax.grid(True)
    ax.bar([3], [2], hatch="/", color=plots.KERNEL)
    ax.imshow(np.eye(3), extent=(4, 5, 3, 4), aspect="auto")
    ax.set(title="Title & <sign>", xlabel="stride − 1", ylabel="size", xlim=(0, 6), ylim=(0, 5))
    plots.label(ax, 5, 2, "a name", plots.OUTPUT)
    return fig


@pytest.fixture(scope="module")
def svg() -> str:
    return plots.picture(drawing(), alt=ALT).svg


def embedded(svg: str) -> list[tuple[Image.Image, ElementTree.Element]]:
    """The pictures inside an SVG with their elements; none is turned or mirrored."""
    found = []
    for node in ElementTree.fromstring(svg).iter(f"{SVG}image"):
        content = node.get(f"{XLINK}href").removeprefix("data:image/png;base64,")
        found.append((Image.open(io.BytesIO(base64.b64decode(content))), node))
        across, skew, lean, down = (float(each) for each in re.findall(r"[-\d.]+", node.get("transform"))[:4])
        assert across > 0 < down
        assert skew == lean == 0
    return found


def grey_image(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Bytes that hold every grey level at least once."""
    values = np.arange(np.prod(shape)) % 256
    return np.random.default_rng(seed).permutation(values).reshape(shape).astype(np.uint8)


def test_alt_text_is_required():
    fig, _ = plt.subplots()
    with pytest.raises(TypeError, match="alt"):
        plots.picture(fig)
    with pytest.raises(TypeError, match="alt"):
        plots.show(np.zeros((3, 3)), titles=["zero"])
    plt.close(fig)


@pytest.mark.parametrize("alt", ["", "   ", "A plot", "One two three four five"])
def test_alt_text_that_says_nothing_is_refused(alt):
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match=f"alt text must say what is seen, in a sentence; got {alt!r}"):
        plots.picture(fig, alt=alt)
    plt.close(fig)
    with pytest.raises(ValueError, match="alt text must say"):
        plots.show(np.zeros((3, 3)), titles=["zero"], alt=alt)


def test_a_picture_is_an_image_with_its_alt_text(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == ALT
    label = re.search(r'aria-label="([^"]*)"', svg).group(1)
    assert html.unescape(label) == ALT
    assert not set("<>'") & set(label)


def test_a_notebook_gets_the_alt_text_and_the_svg():
    picture = plots.picture(drawing(), alt=ALT)
    assert picture._repr_mimebundle_() == {"text/plain": ALT, "image/svg+xml": picture.svg}
    assert repr(picture) == picture.alt == ALT
    assert picture._repr_mimebundle_(include=None, exclude=None)["text/plain"] == ALT


def test_the_figure_is_closed():
    fig = drawing()
    assert plt.fignum_exists(fig.number)
    plots.picture(fig, alt=ALT)
    assert not plt.fignum_exists(fig.number)


def test_every_colour_of_the_book_is_a_variable_with_its_light_value(svg):
    for color, name in plots.INK.items():
        assert svg.count(color) == svg.count(f"var(--cb-{name}, {color})") > 0, name
    assert "currentColor" in svg
    assert "#010203" not in svg
    title = next(node for node in ElementTree.fromstring(svg).iter(f"{SVG}text") if node.text == "Title & <sign>")
    assert "fill: currentColor" in title.get("style")


def test_every_variable_has_its_light_and_its_dark_value_in_the_stylesheet():
    css = (HERE / "kit.css").read_text(encoding="utf-8")
    light, dark = re.search(r":root \{(.*?)\}", css, re.S).group(1), re.search(r"dark.*?\{(.*?)\}", css, re.S).group(1)
    for color, name in plots.INK.items():
        assert f"--cb-{name}: {color};" in light
        found = re.search(rf"--cb-{name}: (#[0-9a-f]{{6}});", dark)
        assert found.group(1) != color


def test_text_is_text(svg):
    said = {node.text for node in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert {"Title & <sign>", "stride − 1", "size", "a name"} <= said
    assert "DejaVuSans-" not in svg, "glyphs drawn as paths"


def test_the_same_drawing_gives_the_same_bytes(svg):
    assert plots.picture(drawing(), alt=ALT).svg == svg


def test_nothing_tells_when_or_with_what_it_was_made(svg):
    assert svg.startswith("<svg ")
    for trace in ("<metadata", "<?xml", "<!DOCTYPE", "dc:date", "Matplotlib", "<!--"):
        assert trace not in svg
    assert not re.search(r"\b20\d\d-\d\d-\d\d", svg)


def test_ids_are_those_that_are_referred_to(svg):
    """No id that nothing needs, no reference into nothing, no id twice."""
    nodes = list(ElementTree.fromstring(svg).iter())
    ids = [node.get("id") for node in nodes if "id" in node.attrib]
    values = [value for node in nodes for key, value in node.attrib.items() if key != f"{SVG}d"]
    local = {value[1:] for node in nodes if (value := node.get(f"{XLINK}href", "")).startswith("#")}
    local |= {name for value in values for name in re.findall(r"url\(#([^)]+)\)", value)}
    assert len(ids) == len(set(ids))
    assert set(ids) == local
    assert len(local) >= 3


def test_no_stylesheet_reaches_out_of_the_picture(svg):
    """The site puts the SVG into its page, where a rule for * holds for every figure beside it."""
    assert "<style" not in svg
    assert re.search(r"^<svg [^>]*stroke-linejoin: ?round", svg)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_a_grey_picture_holds_exactly_its_grey_values(kind):
    values = grey_image((13, 21), seed=1)
    image = values if kind is np.uint8 else (values / 255).astype(kind)
    picture = plots.show(image, titles=["grey"], limits=(0, 255 if kind is np.uint8 else 1), alt=ALT)
    [(found, node)] = embedded(picture.svg)
    assert found.mode == "L"
    assert (int(node.get("width")), int(node.get("height"))) == found.size == (21, 13)
    assert (np.asarray(found) == values).all()


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_a_colour_picture_stays_rgb_with_its_values(kind):
    values = np.random.default_rng(2).integers(0, 256, (13, 21, 3), dtype=np.uint8)
    image = values if kind is np.uint8 else (values / 255).astype(kind)
    [(found, _)] = embedded(plots.show(image, titles=["colour"], alt=ALT).svg)
    assert found.mode == "RGB"
    assert (np.asarray(found) == values).all()


def test_limits_put_images_on_one_scale_and_without_them_each_has_its_own():
    dim, bright = np.array([[0.0, 0.25]]), np.array([[0.5, 1.0]])
    shared = plots.show(dim, bright, titles=["dim", "bright"], limits=(0, 1), alt=ALT)
    own = plots.show(dim, bright, titles=["dim", "bright"], alt=ALT)
    assert [np.asarray(found).tolist() for found, _ in embedded(shared.svg)] == [[[0, 64]], [[128, 255]]]
    assert [np.asarray(found).tolist() for found, _ in embedded(own.svg)] == [[[0, 255]], [[0, 255]]]


def test_a_transparent_picture_keeps_its_transparency():
    values = np.random.default_rng(3).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    fig, ax = plt.subplots()
    ax.imshow(values)
    [(found, _)] = embedded(plots.picture(fig, alt=ALT).svg)
    assert found.mode == "RGBA"
    assert (np.asarray(found)[..., 3] == values[..., 3]).all()


def test_show_titles_images_row_by_row():
    images = [np.full((4, 4), level / 4) for level in range(5)]
    picture = plots.show(*images, titles=["a", "b", "c", "d", "e"], columns=3, limits=(0, 1), alt=ALT)
    texts = {node.text: node for node in ElementTree.fromstring(picture.svg).iter(f"{SVG}text")}
    assert list(texts) == ["a", "b", "c", "d", "e"]
    x, y = ([round(float(texts[name].get(axis)), 3) for name in "abcde"] for axis in "xy")
    assert x[0] == x[3] < x[1] == x[4] < x[2]
    assert y[0] == y[1] == y[2] < y[3] == y[4]
    assert [np.asarray(found).max() for found, _ in embedded(picture.svg)] == [0, 64, 128, 192, 255]


@pytest.mark.parametrize(
    ("images", "titles", "words"),
    [
        ([np.zeros((3, 3))] * 2, ["one"], "2 images need as many titles, got 1"),
        ([np.zeros((3, 3))], ["one", "two"], "1 images need as many titles, got 2"),
        ([np.zeros((3, 3)), np.zeros((3, 3, 4))], ["fine", "four"], r"'four': an image is .* got \(3, 3, 4\)"),
        ([np.zeros((1, 28, 28))], ["first"], r"'first': an image is .* got \(1, 28, 28\)"),
        ([np.zeros((2, 3, 3, 3))], ["batch"], r"'batch': an image is .* got \(2, 3, 3, 3\)"),
        ([np.zeros(3)], ["row"], r"'row': an image is .* got \(3,\)"),
    ],
)
def test_show_says_what_is_wrong(images, titles, words):
    with pytest.raises(ValueError, match=words):
        plots.show(*images, titles=titles, alt=ALT)


def test_numbers_draws_every_value_in_its_cell():
    values = np.array([[0, -1, 2.5], [1728, 0.125, -12]])
    fig, ax = plt.subplots()
    plots.numbers(ax, values, "Kernel", color=plots.KERNEL)
    drawn = {text.get_position(): text.get_text() for text in ax.texts}
    written = [["0", "−1", "2.5"], ["1728", "0.125", "−12"]]
    assert drawn == {(j + 0.5, i + 0.5): written[i][j] for i in range(2) for j in range(3)}
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "row 0 stands at the top"
    svg = plots.picture(fig, alt=ALT).svg
    texts = [node for node in ElementTree.fromstring(svg).iter(f"{SVG}text") if node.text != "Kernel"]
    assert [node.text for node in texts] == sum(written, [])
    places = [(float(node.get("y")), float(node.get("x"))) for node in texts]
    assert places == sorted(places), "the page shows the rows from top to bottom, each from left to right"
    assert "var(--cb-kernel, #b84f00)" in svg


def test_numbers_marks_a_patch_of_rows_and_columns():
    fig, ax = plt.subplots()
    plots.numbers(ax, np.arange(20).reshape(4, 5), "Image", mark=(1, 2, 3, 2))
    marked = [patch for patch in ax.patches if patch.get_linewidth() == 3]
    assert [(patch.get_xy(), patch.get_width(), patch.get_height()) for patch in marked] == [((2, 1), 2, 3)]
    assert len(ax.patches) == 20 + 1 + 1
    plt.close(fig)


def test_label_stands_at_its_point_in_its_colour():
    fig, ax = plt.subplots()
    plots.label(ax, 3, 4, "loss", plots.OUTPUT)
    [text] = ax.texts
    assert (text.xy, text.get_text(), text.get_color()) == ((3, 4), "loss", plots.OUTPUT)
    plt.close(fig)
