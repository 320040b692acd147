"""Uses the convolution explorer as a reader would; numbers that it must show were counted by hand."""

from playwright.sync_api import Locator, Page, expect

EIGHTS = ["8"] * 9
FIRST_SUM = "1×(−1) + 2×0 + 3×1 + 6×(−2) + 7×0 + 8×2 + 11×(−1) + 12×0 + 13×1 = 8"


def drive(page: Page, figure: Locator) -> None:
    start(figure)
    choose_outputs(page, figure)
    presets(figure)
    edit_cells(page, figure)
    stride_and_padding(page, figure)
    a_kernel_that_does_not_fit(figure)
    walk(page, figure)
    sweep(page, figure)
    reset(figure)


def outputs(figure: Locator) -> Locator:
    return figure.locator(".cb-conv-output [role=gridcell]")


def pixel(figure: Locator, row: int, col: int) -> Locator:
    return figure.get_by_label(f"image, row {row}, column {col}", exact=True)


def weight(figure: Locator, row: int, col: int) -> Locator:
    return figure.get_by_label(f"kernel, row {row}, column {col}", exact=True)


def setting(figure: Locator, name: str, value: int) -> None:
    figure.locator(f"[data-setting={name}] label").filter(has_text=str(value)).click()


def expect_patch(figure: Locator, first: Locator, last: Locator) -> None:
    """The frame on the image reaches from one cell to another."""
    frame, one, other = (part.bounding_box() for part in (figure.locator(".cb-conv-patch"), first, last))
    assert abs(frame["x"] - one["x"]) < 5
    assert abs(frame["y"] - one["y"]) < 5
    assert abs(frame["x"] + frame["width"] - other["x"] - other["width"]) < 5
    assert abs(frame["y"] + frame["height"] - other["y"] - other["height"]) < 5


def start(figure: Locator) -> None:
    expect(outputs(figure)).to_have_text(EIGHTS)
    expect(figure.locator(".cb-conv-sum")).to_have_text(FIRST_SUM)
    expect(figure.locator(".cb-conv-sizes")).to_contain_text("⌊(5 + 2·0 − 1·(3−1) − 1)/1⌋ + 1 = 3")
    expect(figure.locator(".cb-live")).to_have_text("The output is 3 × 3. output[0, 0] = 8, the sum of 9 products.")
    expect_patch(figure, pixel(figure, 0, 0), pixel(figure, 2, 2))


def choose_outputs(page: Page, figure: Locator) -> None:
    """Mouse, then arrow keys; a product that is looked at marks its pixel and its weight."""
    outputs(figure).nth(5).click()
    wanted = "8×(−1) + 9×0 + 10×1 + 13×(−2) + 14×0 + 15×2 + 18×(−1) + 19×0 + 20×1 = 8"
    expect(figure.locator(".cb-conv-sum")).to_have_text(wanted)
    expect_patch(figure, pixel(figure, 1, 2), pixel(figure, 3, 4))
    for key in ("ArrowLeft", "ArrowDown", "ArrowDown", "Home"):
        page.keyboard.press(key)
    expect(outputs(figure).nth(6)).to_be_focused()
    expect(outputs(figure).nth(6)).to_have_attribute("aria-selected", "true")
    expect(figure.locator(".cb-conv-number h4")).to_have_text("output[2, 0] is the sum of 9 products")
    figure.locator(".cb-conv-products [role=gridcell]").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    product = figure.locator(".cb-conv-products [data-at='1,2']")
    expect(product).to_be_focused()
    expect(product).to_have_text("18×2 = 36")
    expect(figure.locator(".cb-conv-image .cb-conv-same input")).to_have_value("18")
    expect(figure.locator(".cb-conv-kernel .cb-conv-same input")).to_have_value("2")


def presets(figure: Locator) -> None:
    figure.get_by_label("Image", exact=True).select_option(label="Step edge")
    expect(outputs(figure)).to_have_text(["0", "4", "4"] * 3)
    figure.get_by_label("image width").select_option("6")
    expect(outputs(figure)).to_have_text(["0", "4", "4", "0"] * 3)
    figure.get_by_label("Image", exact=True).select_option(label="One bright pixel")
    figure.get_by_label("image width").select_option("5")
    expect(outputs(figure)).to_have_text(["1", "0", "−1", "2", "0", "−2", "1", "0", "−1"])
    figure.get_by_label("Kernel", exact=True).select_option(label="Blur, ninths")
    expect(outputs(figure)).to_have_text(["0.11"] * 9)
    expect(figure.locator(".cb-conv-sum strong")).to_have_text("= 1/9 ≈ 0.11")
    figure.get_by_label("Image", exact=True).select_option(label="Ramp")
    expect(outputs(figure)).to_have_text(["7", "8", "9", "12", "13", "14", "17", "18", "19"])
    figure.get_by_label("Kernel", exact=True).select_option(label="Two taps −1, 1")
    expect(outputs(figure)).to_have_text(["1"] * 20)
    figure.get_by_label("Kernel", exact=True).select_option(label="Sobel X")
    expect(outputs(figure)).to_have_text(EIGHTS)


def edit_cells(page: Page, figure: Locator) -> None:
    """Typed with the keyboard alone: image[0, 2] from 3 to 5.5, then a weight; what is no number changes nothing."""
    pixel(figure, 0, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(pixel(figure, 0, 2)).to_be_focused()
    expect(figure.locator(".cb-conv-note").first).to_have_text("image[0, 2] is read by 3 of 9 positions.")
    expect(figure.locator(".cb-conv-reader")).to_have_count(3)
    page.keyboard.type("5.5")
    expect(outputs(figure)).to_have_text(["10.5", "8", "5.5", *["8"] * 6])
    page.keyboard.press("Enter")
    expect(pixel(figure, 1, 2)).to_be_focused()
    page.keyboard.type("1x")
    expect(figure.get_by_role("alert").first).to_contain_text("at most one decimal")
    page.keyboard.press("ArrowDown")
    expect(pixel(figure, 1, 2)).to_have_value("1")
    pixel(figure, 1, 2).click()
    page.keyboard.type("8")
    pixel(figure, 0, 2).click()
    page.keyboard.type("-3")
    expect(outputs(figure).nth(0)).to_have_text("2")
    page.keyboard.press("Control+a")
    page.keyboard.type("3")
    weight(figure, 1, 1).click()
    page.keyboard.type("1/2")
    expect(outputs(figure).nth(0)).to_have_text("11.5")  # 8 and half of image[1, 1] = 7
    figure.get_by_label("Kernel", exact=True).select_option(label="Sobel X")
    expect(outputs(figure)).to_have_text(EIGHTS)


def stride_and_padding(page: Page, figure: Locator) -> None:
    setting(figure, "padding", 1)
    expect(outputs(figure)).to_have_count(25)
    expect(figure.locator(".cb-conv-image .cb-conv-padding")).to_have_count(24)
    outputs(figure).nth(0).click()  # 2·2 + 7: the upper row and the left column of the patch are padding
    expect(figure.locator(".cb-conv-sum strong")).to_have_text("= 11")
    setting(figure, "stride", 3)
    expect(figure.locator(".cb-conv-left")).to_have_text(
        "Stride 3 does not come out even: the last row and the last column of the padded image are left over."
    )
    expect(outputs(figure)).to_have_count(4)
    figure.locator("[data-setting=stride] input:checked").focus()
    page.keyboard.press("ArrowLeft")
    expect(outputs(figure)).to_have_count(9)
    expect(figure.locator(".cb-conv-left")).to_have_text("")
    setting(figure, "stride", 1)
    setting(figure, "padding", 0)
    expect(outputs(figure)).to_have_text(EIGHTS)


def a_kernel_that_does_not_fit(figure: Locator) -> None:
    setting(figure, "dilation", 2)
    expect(outputs(figure)).to_have_text(["16"])  # twice the distance, twice the difference
    expect(figure.locator(".cb-conv-tap")).to_have_count(9)
    setting(figure, "dilation", 3)
    expect(figure.locator(".cb-conv-panel .cb-error").filter(has_text="Height: a kernel of 3")).to_contain_text(
        "spans 7"
    )
    expect(figure.locator(".cb-live")).to_have_text("No output: the kernel does not fit into the image.")
    assert "NaN" not in figure.inner_text()
    setting(figure, "padding", 1)
    expect(outputs(figure)).to_have_count(1)
    setting(figure, "padding", 0)
    setting(figure, "dilation", 1)
    expect(outputs(figure)).to_have_text(EIGHTS)


def walk(page: Page, figure: Locator) -> None:
    outputs(figure).nth(0).click()
    step = figure.get_by_role("button", name="Next position")
    step.click()
    expect(outputs(figure)).to_have_text(["8", "8", *["·"] * 7])
    step.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(outputs(figure)).to_have_text([*["8"] * 4, *["·"] * 5])
    expect(figure.locator(".cb-live")).to_have_text("Position 4 of 9: output[1, 0] = 8.")
    expect_patch(figure, pixel(figure, 1, 0), pixel(figure, 3, 2))
    figure.get_by_role("button", name="Previous").click()
    expect(figure.locator(".cb-live")).to_have_text("Position 3 of 9: output[0, 2] = 8.")
    figure.get_by_role("button", name="Show all outputs").click()
    expect(outputs(figure)).to_have_text(EIGHTS)


def sweep(page: Page, figure: Locator) -> None:
    """Plays by itself and stops at the end; not offered to a reader who wants no motion."""
    play = figure.get_by_role("button", name="Play")
    if page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches"):
        expect(play).to_have_count(0)
        return
    figure.get_by_label("Kernel", exact=True).select_option(label="Identity")
    setting(figure, "stride", 2)
    play.click()
    expect(outputs(figure)).to_have_text(["7", "·", "·", "·"])
    expect(figure.get_by_role("button", name="Pause")).to_be_visible()
    expect(outputs(figure)).to_have_text(["7", "9", "17", "19"])
    expect(play).to_be_visible()
    expect(figure.locator(".cb-live")).to_have_text("Position 4 of 4: output[1, 1] = 19.")


def reset(figure: Locator) -> None:
    figure.get_by_role("button", name="Reset").click()
    start(figure)
