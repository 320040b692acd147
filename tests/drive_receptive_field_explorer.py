"""Uses the receptive-field explorer as a reader would; numbers that it must show were counted by hand."""

from playwright.sync_api import Locator, Page, expect

START = "Layer 5, unit 1 sees pixels 8 to 42: rf 35, jump 8."
LEFT, RIGHT, PITCH, FLOOR, PIXELS = 60, 34, 44, 22 + 5 * 44, 51  # of the drawing in its default state


def drive(page: Page, figure: Locator) -> None:
    start(figure)
    keyboard_in_the_drawing(page, figure)
    pointer_in_the_drawing(page, figure)
    one_pixel(page, figure)
    the_table(page, figure)
    edits(page, figure)
    a_stack_that_does_not_fit(page, figure)
    known_nets(figure)
    effective_fields(figure)
    figure.get_by_role("button", name="Reset").click()
    start(figure)


def said(figure: Locator, what: str) -> Locator:
    return figure.locator(f"[data-said={what}]")


def live(figure: Locator, text: str) -> None:
    expect(figure.locator(".cb-live")).to_have_text(text)


def cell(figure: Locator, row: int) -> Locator:
    return figure.locator(f"[role=gridcell][data-row='{row}']")


def column(figure: Locator, name: str) -> list[str]:
    """A column of the table, from the input on."""
    place = ["layer", "kernel", "stride", "dilation", "padding", "rf", "jump", "units"].index(name) + 1
    return figure.locator(f".rf-table tbody tr:not(.rf-open) > :nth-child({place})").all_inner_texts()


def point(page: Page, figure: Locator, row: int, place: float, click: bool = False) -> None:
    """Move to the unit of a row that stands over a place of the input; row −1 is the bars at the bottom."""
    node = figure.locator(".rf-drawing")
    node.scroll_into_view_if_needed()
    page.evaluate("(node) => node.scrollIntoView({block: 'center'})", node.element_handle())
    box = node.bounding_box()
    x = box["x"] + LEFT + (place + 0.5) * (box["width"] - LEFT - RIGHT) / PIXELS
    y = box["y"] + (box["height"] - 30 if row < 0 else FLOOR - row * PITCH + 8)
    (page.mouse.click if click else page.mouse.move)(x, y)


def start(figure: Locator) -> None:
    live(figure, START)
    assert column(figure, "rf") == ["7", "11", "19", "27", "35"]
    assert column(figure, "jump") == ["2", "4", "4", "4", "8"]
    assert column(figure, "units") == ["23", "11", "9", "7", "3"]
    expect(said(figure, "rf")).to_contain_text("rf = 27 + 1·(3−1)·4 = 35")
    expect(said(figure, "next")).to_have_text("Its neighbour, unit 2, sees 16 to 50: 8 pixels further, the jump.")
    expect(said(figure, "pixel")).to_have_text(
        "Pixel 25: 13 + 7 + 13 = 33 paths, over units 10 to 12 of layer 1. 33 ÷ 567 = 5.8 %."
    )
    expect(figure.locator(".rf-said.rf-own")).to_have_text("8 to 42")


def keyboard_in_the_drawing(page: Page, figure: Locator) -> None:
    """Left and right along a layer, up and down between layers, down to the pixels."""
    cell(figure, 5).focus()
    page.keyboard.press("ArrowRight")
    live(figure, "Layer 5, unit 2 sees pixels 16 to 50: rf 35, jump 8.")
    expect(said(figure, "next")).to_have_text("Its neighbour, unit 1, sees 8 to 42: 8 pixels before, the jump.")
    page.keyboard.press("ArrowRight")
    live(figure, "Layer 5, unit 2 sees pixels 16 to 50: rf 35, jump 8.")
    page.keyboard.press("ArrowDown")
    expect(cell(figure, 4)).to_be_focused()
    live(figure, "Layer 4, unit 5 sees pixels 20 to 46: rf 27, jump 4.")
    expect(said(figure, "rf")).to_contain_text("rf = 19 + 1·(3−1)·4 = 27")
    page.keyboard.press("Home")
    live(figure, "Layer 4, unit 0 sees pixels 0 to 26: rf 27, jump 4.")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    expect(cell(figure, 0)).to_be_focused()
    live(figure, "Layer 1, unit 5 sees pixels 10 to 16: rf 7, jump 2.")  # pixel 13 is the middle of its field
    page.keyboard.press("End")
    expect(said(figure, "pixel")).to_have_text("Pixel 50: no path leads to it.")
    figure.get_by_role("slider", name="Pixel", exact=True).focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(said(figure, "pixel")).to_have_text("Pixel 1: no path leads to it.")


def pointer_in_the_drawing(page: Page, figure: Locator) -> None:
    """Hovering draws a unit's field and leaves the state alone; a click keeps it."""
    before = figure.locator(".cb-live").inner_text()
    point(page, figure, 2, 25)
    expect(figure.locator(".rf-said.rf-own")).to_have_text("20 to 30")
    live(figure, before)
    page.mouse.move(0, 0)
    expect(figure.locator(".rf-said.rf-own")).to_have_text("10 to 16")
    point(page, figure, 2, 25, click=True)
    live(figure, "Layer 2, unit 5 sees pixels 20 to 30: rf 11, jump 4.")
    point(page, figure, 5, 25, click=True)
    live(figure, START)


def one_pixel(page: Page, figure: Locator) -> None:
    """Near the end of the field few paths arrive: one to pixel 8, two to pixel 10."""
    point(page, figure, -1, 10, click=True)
    expect(said(figure, "pixel")).to_have_text(
        "Pixel 10: 1 + 1 = 2 paths, over units 4 to 5 of layer 1. 2 ÷ 567 = 0.35 %."
    )
    point(page, figure, 0, 8, click=True)
    expect(said(figure, "pixel")).to_have_text("Pixel 8: 1 path, over unit 4 of layer 1. 1 ÷ 567 = 0.18 %.")
    live(figure, START)


def the_table(page: Page, figure: Locator) -> None:
    figure.get_by_role("button", name="Open Layer 1", exact=True).click()
    live(figure, "Layer 1, unit 11 sees pixels 22 to 28: rf 7, jump 2.")
    expect(said(figure, "rf")).to_contain_text("rf = 1 + 1·(7−1)·1 = 7")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(figure.get_by_role("button", name="Open Layer 3", exact=True)).to_be_focused()
    expect(said(figure, "rf")).to_contain_text("rf = 11 + 1·(3−1)·4 = 19")
    expect(said(figure, "sum")).to_have_text("rf = 1 + 1·6·1 + 1·2·2 + 1·2·4 = 19")


def edits(page: Page, figure: Locator) -> None:
    """Layer 3 gets dilation 2, then goes; a 3×3 layer comes after layer 1 and moves before it."""
    figure.get_by_role("slider", name="Dilation").focus()
    page.keyboard.press("ArrowRight")
    expect(said(figure, "rf")).to_contain_text("rf = 11 + 2·(3−1)·4 = 27")
    assert column(figure, "rf") == ["7", "11", "27", "35", "43"]
    expect(figure.get_by_label("Stack", exact=True)).to_have_value("own")
    figure.get_by_role("button", name="Remove", exact=True).click()
    assert column(figure, "rf") == ["7", "11", "19", "27"]
    figure.get_by_role("button", name="Open Layer 1", exact=True).click()
    figure.get_by_role("button", name="Add a layer").click()
    assert column(figure, "rf") == ["7", "11", "15", "23", "31"]
    figure.get_by_role("button", name="Move earlier").click()
    assert column(figure, "rf") == ["3", "9", "13", "21", "29"]
    assert column(figure, "jump") == ["1", "2", "4", "4", "8"]
    figure.get_by_role("button", name="Reset").click()
    start(figure)


def a_stack_that_does_not_fit(page: Page, figure: Locator) -> None:
    figure.get_by_role("slider", name="Input pixels").focus()
    page.keyboard.press("Home")
    expect(figure.locator(".cb-error")).to_have_text(
        "Layer 2 does not fit: its kernel spans 3, but layer 1 has only 1 + 2·0 = 1."
    )
    live(figure, "The stack does not fit into the input.")
    assert "NaN" not in figure.inner_text()
    assert column(figure, "rf") == ["7", "11", "19", "27", "35"]
    figure.get_by_role("button", name="Make the input 51 pixels wide").click()
    start(figure)


def known_nets(figure: Locator) -> None:
    stack = figure.get_by_label("Stack", exact=True)
    stack.select_option(label="Eleven layers")
    assert column(figure, "rf") == ["7", "11", "19", "27", "35", "51", "67", "99", "131", "195", "259"]
    live(figure, "Layer 11, unit 2 sees pixels −1 to 257: rf 259, jump 64.")
    expect(said(figure, "sees")).to_contain_text("35 of them lie beyond the input, on padding.")
    stack.select_option(label="VGG-16")
    live(figure, "pool5, unit 3 sees pixels 6 to 217: rf 212, jump 32.")
    assert column(figure, "rf")[-2:] == ["196", "212"]
    figure.get_by_role("button", name="Zoom to the field").click()
    expect(figure.locator(".rf-reading")).to_contain_text("Drawn: pixels −26 to 249; the input is 0 to 223.")
    for net, rf in {"AlexNet": 195, "ResNet-18": 435, "ResNet-50 (v1.5)": 427, "MobileNetV1": 315}.items():
        stack.select_option(label=net)
        assert column(figure, "rf")[-1] == str(rf)
    expect(figure.locator("p.rf-note").first).to_contain_text("1×1 layers are left out")


def effective_fields(figure: Locator) -> None:
    for name, share in {"Five": 66, "Ten": 49, "Twenty": 36, "Forty": 26}.items():
        figure.get_by_label("Stack", exact=True).select_option(label=f"{name} 3×3")
        expect(said(figure, "effective")).to_contain_text(f", {share} % of rf ")
    figure.get_by_label("Stack", exact=True).select_option(label="Dilated 1, 2, 4, 8")
    assert column(figure, "rf") == ["3", "7", "15", "31"]
    assert column(figure, "jump") == ["1"] * 4
