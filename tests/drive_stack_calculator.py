"""How a reader uses the stack calculator, by mouse and by keyboard, with what each act must show."""

from playwright.sync_api import Locator, Page, expect

PHOTO = ["64 × 112 × 112", "64 × 55 × 55", "128 × 55 × 55", "128 × 1 × 1", "128 values", "1,000 values"]


def drive(page: Page, figure: Locator) -> None:
    """Drive the figure from its default state; page is playwright's, figure the locator of its .cb-figure."""
    start(figure)
    opens_the_numbers(figure)
    settings_by_keyboard(page, figure)
    what_is_no_number(page, figure)
    rows_by_mouse(figure)
    rows_by_keyboard(page, figure)
    known_nets(figure)
    broken_cnn(figure)
    an_even_kernel(figure)
    fits_the_page(page, figure)
    figure.get_by_role("button", name="Reset").click()
    start(figure)


def row(figure: Locator, layer: int) -> Locator:
    return figure.locator(".sc-row").nth(layer - 1)


def setting(figure: Locator, name: str, layer: int) -> Locator:
    return figure.get_by_label(f"{name}, layer {layer}", exact=True)


def act(figure: Locator, layer: int, key: str) -> Locator:
    return row(figure, layer).locator(f'[data-key="{key}-{layer - 1}"]')


def outputs(figure: Locator) -> Locator:
    return figure.locator('.sc-row [data-value="output"]:visible')


def expect_totals(figure: Locator, params: str, macs: str) -> None:
    expect(figure.locator('.sc-total [data-value="params"]')).to_have_text(params)
    expect(figure.locator('.sc-total [data-value="macs"]')).to_have_text(macs)


def start(figure: Locator) -> None:
    """7·7·3·64 + 64 = 9,472; 3·3·64·128 + 128 = 73,856; 128·1,000 + 1,000 = 129,000."""
    expect(outputs(figure)).to_have_text(PHOTO)
    expect(figure.locator('.sc-row [data-value="params"]')).to_have_text(["9,472", "0", "73,856", "0", "0", "129,000"])
    expect_totals(figure, "212,328", "341,169,152")
    expect(figure.locator(".cb-live")).to_have_text(
        "6 layers: 3 × 224 × 224 becomes 1,000 values. 212,328 parameters, 341,169,152 MACs."
    )
    expect(figure.locator("details[open]")).to_have_count(1)
    expect(row(figure, 2).locator('[data-extra="output"]')).to_have_text("unread: 1 row and 1 column of the image")


def opens_the_numbers(figure: Locator) -> None:
    lines = row(figure, 1).locator(".sc-lines")
    expect(lines).to_contain_text("⌊(224 + 2·3 − 1·(7 − 1) − 1) / 2⌋ + 1 = ⌊223 / 2⌋ + 1 = 112")
    expect(lines).to_contain_text("(64 × 112 × 112) × (3 × 7 × 7) = 802,816 × 147 = 118,013,952")
    expect(lines).to_contain_text("nn.Conv2d(3, 64, 7, stride=2, padding=3)")
    row(figure, 1).locator("summary").click()
    expect(lines).to_be_hidden()
    row(figure, 3).locator("summary").focus()
    row(figure, 3).locator("summary").press("Enter")
    expect(row(figure, 3).locator(".sc-lines")).to_contain_text("9,472 + 73,856 = 83,328")
    expect(row(figure, 3).locator(".sc-lines")).to_contain_text(
        "Zeros that “same” adds: 1 above and left, 1 below and right"
    )


def settings_by_keyboard(page: Page, figure: Locator) -> None:
    """Arrow keys in a field; a pair; bias off; a stride that "same" does not take, and groups."""
    setting(figure, "Stride", 1).press("ArrowDown")
    expect(outputs(figure)).to_have_text(["64 × 224 × 224", "64 × 111 × 111", "128 × 111 × 111", *PHOTO[3:]])
    setting(figure, "Stride", 1).press("ArrowUp")
    setting(figure, "Kernel", 3).fill("1x5")
    expect(row(figure, 3).locator('[data-value="params"]')).to_have_text("41,088")  # 1·5·64·128 + 128
    expect(setting(figure, "Kernel", 3)).to_be_focused()
    expect(setting(figure, "Kernel", 3)).to_have_value("1x5")
    page.keyboard.press("Tab")
    expect(setting(figure, "Stride", 3)).to_be_focused()
    expect(setting(figure, "Kernel", 3)).to_have_value("1×5")
    setting(figure, "Kernel", 3).fill("3")
    setting(figure, "Bias", 3).press("Space")
    expect(row(figure, 3).locator('[data-value="params"]')).to_have_text("73,728")
    setting(figure, "Bias", 3).press("Space")
    setting(figure, "Stride", 3).fill("2")
    expect(row(figure, 3).locator(".sc-problem")).to_contain_text("“same” padding works with stride 1 only")
    expect(row(figure, 4).locator(".sc-problem")).to_have_text("Needs the row above.")
    expect_totals(figure, "9,472", "118,013,952")
    setting(figure, "Stride", 3).fill("1")
    setting(figure, "Groups", 3).fill("5")
    expect(row(figure, 3).locator(".sc-problem")).to_have_text("5 groups do not divide the 64 input channels.")
    setting(figure, "Groups", 3).fill("64")
    expect(row(figure, 3).locator('[data-value="params"]')).to_have_text("1,280")  # 128·1·3·3 + 128
    setting(figure, "Groups", 3).fill("1")
    expect(outputs(figure)).to_have_text(PHOTO)


def what_is_no_number(page: Page, figure: Locator) -> None:
    field = setting(figure, "Kernel", 1)
    field.fill("seven")
    expect(row(figure, 1).get_by_role("alert")).to_have_text(
        "Kernel: a whole number from 1 to 99, or two as 3×5 (height × width)."
    )
    expect(outputs(figure)).to_have_text(PHOTO)
    page.keyboard.press("Tab")
    expect(field).to_have_value("7")
    expect(row(figure, 1).get_by_role("alert")).to_have_text("")
    figure.get_by_label("Height, input").fill("2")
    expect(row(figure, 2).locator(".sc-problem")).to_contain_text(
        "The kernel has 3 rows, but the padded input has only 1"
    )
    assert "NaN" not in figure.inner_text()
    figure.get_by_label("Height, input").fill("224")
    expect(outputs(figure)).to_have_text(PHOTO)


def rows_by_mouse(figure: Locator) -> None:
    """Copy the third layer, remove the copy, add a layer that does not fit, remove it."""
    act(figure, 3, "copy").click()
    expect(figure.locator(".sc-row")).to_have_count(7)
    expect(act(figure, 4, "copy")).to_be_focused()
    expect(row(figure, 4).locator('[data-value="params"]')).to_have_text("147,584")  # 3·3·128·128 + 128
    act(figure, 4, "remove").click()
    expect(outputs(figure)).to_have_text(PHOTO)
    expect(row(figure, 3).locator("details")).to_have_attribute("open", "")
    figure.get_by_label("Kind of the new layer").select_option("max_pool")
    figure.get_by_role("button", name="Add layer").click()
    expect(row(figure, 7).locator(".sc-problem")).to_have_text(
        "Max pool needs channels × height × width, but it gets a vector of 1,000 values. Move it above the flatten."
    )
    row(figure, 7).get_by_label("Layer 7", exact=True).select_option("linear")
    expect(row(figure, 7).locator('[data-value="params"]')).to_have_text("10,010")
    act(figure, 7, "remove").click()
    expect(outputs(figure)).to_have_text(PHOTO)


def rows_by_keyboard(page: Page, figure: Locator) -> None:
    """The buttons of a row are one Tab stop; Alt with an arrow moves the layer from any of its fields."""
    act(figure, 1, "down").focus()
    page.keyboard.press("ArrowRight")
    expect(act(figure, 1, "copy")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(act(figure, 2, "down")).to_be_focused()
    expect(outputs(figure).first).to_have_text("3 × 111 × 111")
    act(figure, 2, "up").press("Enter")
    expect(outputs(figure)).to_have_text(PHOTO)
    setting(figure, "Out", 6).focus()
    page.keyboard.press("Alt+ArrowUp")
    expect(setting(figure, "Out", 5)).to_be_focused()
    expect(row(figure, 5).locator(".sc-problem")).to_have_text(
        "A linear layer takes a vector, but it gets 128 × 1 × 1. Put a flatten above it."
    )
    page.keyboard.press("Alt+ArrowDown")
    expect(setting(figure, "Out", 6)).to_be_focused()
    expect(outputs(figure)).to_have_text(PHOTO)
    act(figure, 1, "up").press("Enter")  # the first cannot go further up
    expect(outputs(figure)).to_have_text(PHOTO)


def known_nets(figure: Locator) -> None:
    example = figure.get_by_label("Example", exact=True)
    example.select_option("The CIFAR net of this book")
    expect_totals(figure, "157,578", "20,725,760")  # 1,769,472 + 18,874,368 + 81,920
    expect(figure.locator('.sc-row [data-value="params"]')).to_have_text(["1,792", "0", "73,856", "0", "0", "81,930"])
    figure.locator(".sc-code summary").click()
    expect(figure.locator(".sc-code code")).to_contain_text("nn.Linear(8192, 10),")
    setting(figure, "Out", 1).fill("32")
    expect(example).to_have_value("own")
    example.select_option("LeNet-5 (modern copy)")
    expect_totals(figure, "61,706", "416,520")
    example.select_option("VGG-16, first blocks")
    expect(outputs(figure).last).to_have_text("256 × 28 × 28")
    expect_totals(figure, "1,735,488", "9,335,144,448")  # 86,704,128 + 4·1,849,688,064 + 2·924,844,032


def broken_cnn(figure: Locator) -> None:
    """16·5·5 + 16 = 416, 32·16·5·5 + 32 = 12,832, and 512·10 + 10 = 5,130 once the last layer is mended."""
    figure.get_by_label("Example", exact=True).select_option("BrokenCNN")
    expect(row(figure, 6).locator(".sc-problem")).to_have_text("The layer gets 512 values, it was built for 800.")
    expect(figure.locator(".cb-live")).to_have_text(
        "Layer 6, linear, does not fit. The layer gets 512 values, it was built for 800."
    )
    expect(figure.locator('.sc-total [data-value="output"]')).to_have_text("none")
    setting(figure, "Built for", 6).fill("512")
    expect_totals(figure, "18,378", "1,054,720")  # 230,400 + 819,200 + 5,120
    setting(figure, "Built for", 6).fill("")
    setting(figure, "Kernel", 3).fill("3")
    expect(row(figure, 5).locator('[data-value="output"]')).to_have_text("800 values")


def an_even_kernel(figure: Locator) -> None:
    figure.get_by_label("Example", exact=True).select_option("An even kernel with “same”")
    expect(outputs(figure)).to_have_text(["16 × 32 × 32", "16 × 31 × 31", "16 × 32 × 32"])
    expect(row(figure, 1).locator('[data-extra="output"]')).to_have_text("same: 1 above and left, 2 below and right")


def fits_the_page(page: Page, figure: Locator) -> None:
    """The largest numbers do not make the page wider, and what cannot be counted exactly is said."""
    setting(figure, "Out", 2).fill("100000")
    setting(figure, "Out", 3).fill("100000")
    for side in ("Height", "Width"):
        figure.get_by_label(f"{side}, input").fill("170")
    box, width = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= width - box["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(row(figure, 3).locator('[data-value="macs"]')).to_have_text("4,624,000,000,000,000")
    figure.get_by_label("Width, input").fill("9000")
    expect(row(figure, 3).locator(".sc-problem")).to_contain_text("up to which this calculator is exact")
