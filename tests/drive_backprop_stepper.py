"""Uses the backprop stepper as a reader would; numbers that it must show were counted by hand."""

from playwright.sync_api import Locator, Page, expect

OUTPUT = ["21", "−10", "7", "1", "5", "8", "5", "−4", "8"]
DOUT = ["1", "−2", "2", "0", "−1", "3", "−3", "1", "−2"]
FIRST_DX = ["1", "−1", "2", "0", "0", "0", "3", "−2", *["0"] * 12]
LAST_DX = [
    "1",
    "−3",
    "6",
    "−6",
    "4",
    "0",
    "2",
    "−4",
    "5",
    "2",
    "−3",
    "4",
    "−12",
    "15",
    "−10",
    "0",
    "−9",
    "9",
    "−8",
    "4",
]
LAST_DW = ["−4", "−16", "14", "−5", "−3", "−4"]
OPENED = "dW[1, 1] = 1×4 + (−2)×(−2) + 2×0 + 0×3 + (−1)×1 + 3×2 + (−3)×2 + 1×0 + (−2)×5 = −3"


def drive(page: Page, figure: Locator) -> None:
    start(figure)
    walk_backward(page, figure)
    the_end(figure)
    open_cells(page, figure)
    walk_forward(page, figure)
    jump(page, figure)
    upstream(page, figure)
    edit(page, figure)
    stride_and_padding(page, figure)
    resting_pointer(page, figure)
    play(page, figure)
    reset(figure)


def cells(figure: Locator, board: str) -> Locator:
    return figure.locator(f".bp-{board} [role=gridcell]:not(.bp-padding)")


def button(figure: Locator, name: str) -> Locator:
    return figure.get_by_role("button", name=name, exact=True)


def entries(figure: Locator, sheet: str) -> Locator:
    return figure.get_by_role("table", name=sheet).get_by_role("cell")


def setting(figure: Locator, name: str, value: int) -> None:
    figure.locator(f"[data-setting={name}] label").filter(has_text=str(value)).click()


def start(figure: Locator) -> None:
    """The forward pass is done, and the first position has sent its gradient back."""
    expect(cells(figure, "out")).to_have_text(OUTPUT)
    expect(cells(figure, "dOut")).to_have_text(DOUT)
    expect(cells(figure, "dX")).to_have_text(FIRST_DX)
    expect(cells(figure, "dW")).to_have_text(["1", "0", "2", "2", "4", "−2"])
    expect(cells(figure, "db")).to_have_text(["1"])
    expect(figure.locator(".bp-open .bp-sum")).to_have_text(OPENED)
    expect(figure.locator(".bp-numeric")).to_have_text("−3.0000")
    expect(figure.locator(".cb-live")).to_have_text(
        "Backward, position 1 of 9: dOut[0, 0] = 1 flows to 6 weights, 6 pixels and the bias. Opened: dW[1, 1] = −3."
    )


def walk_backward(page: Page, figure: Locator) -> None:
    """dOut[0, 1] = −2 times the patch from column 1 on, and times the kernel."""
    button(figure, "Next").click()
    expect(entries(figure, "changes of dW")).to_have_text(
        [
            "dW[0, 0](−2)×0 = 01 + 0 = 1",
            "dW[0, 1](−2)×2 = −40 + (−4) = −4",
            "dW[0, 2](−2)×(−1) = 22 + 2 = 4",
            "dW[1, 0](−2)×4 = −82 + (−8) = −6",
            "dW[1, 1](−2)×(−2) = 44 + 4 = 8",
            "dW[1, 2](−2)×0 = 0−2 + 0 = −2",
        ]
    )
    expect(entries(figure, "changes of dX").nth(1)).to_have_text("dX[0, 2](−2)×(−1) = 22 + 2 = 4")
    expect(figure.locator(".bp-step .bp-sum")).to_have_text("To the bias: dOut itself. db: 1 + (−2) = −1")
    expect(cells(figure, "dX")).to_have_text(["1", "−3", "4", "−4", "0", "0", "3", "−8", "4", *["0"] * 11])
    expect(figure.locator(".bp-open .bp-say")).to_have_text("All 9 outputs contributed. After 2 of 9 positions: 8.")
    button(figure, "Next").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(figure.locator(".cb-live")).to_contain_text("dOut[1, 0] = 0. Nothing flows, and no total changes.")
    expect(figure.locator(".bp-is-now")).to_have_count(0)


def the_end(figure: Locator) -> None:
    button(figure, "To the end").click()
    expect(cells(figure, "dX")).to_have_text(LAST_DX)
    expect(cells(figure, "dW")).to_have_text(LAST_DW)
    expect(cells(figure, "db")).to_have_text(["−1"])
    expect(figure.locator(".bp-route").nth(0)).to_contain_text("[−4 −16 14] [−5 −3 −4]. 6 of 6 numbers agree")
    expect(figure.locator(".bp-route").nth(1)).to_contain_text("[1 −3 6 −6 4] [0 2 −4 5 2] [−3 4 −12 15 −10]")
    expect(figure.locator(".bp-route").nth(1)).to_contain_text("20 of 20 numbers agree")
    expect(button(figure, "Next")).to_be_disabled()
    button(figure, "Next").dispatch_event("click")
    expect(cells(figure, "db")).to_have_text(["−1"])


def open_cells(page: Page, figure: Locator) -> None:
    """A pixel by mouse, its neighbour by keyboard, then the bias."""
    cells(figure, "dX").nth(7).click()
    total = figure.locator(".bp-open .bp-sum")
    expect(total).to_have_text("dX[1, 2] = 1×(−2) + (−2)×3 + 2×0 + 0×2 + (−1)×(−1) + 3×1 = −4")
    expect(figure.locator(".bp-open .bp-say")).to_contain_text(
        "6 of 9 outputs contributed: [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]. The other 3 do"
    )
    expect(figure.locator(".bp-dOut .bp-is-from")).to_have_text(["1", "−2", "2", "0", "−1", "3"])
    expect(figure.locator(".bp-numeric")).to_have_text("−4.0000")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    expect(cells(figure, "dX").nth(0)).to_be_focused()
    expect(total).to_have_text("dX[0, 0] = 1×1 = 1")
    cells(figure, "db").click()
    expect(total).to_have_text("db = 1 + (−2) + 2 + 0 + (−1) + 3 + (−3) + 1 + (−2) = −1")
    expect(figure.locator(".bp-numeric")).to_have_text("−1.0000")


def walk_forward(page: Page, figure: Locator) -> None:
    """The slider leads back to the first output; the gradients wait."""
    figure.get_by_role("slider", name="Step").focus()
    page.keyboard.press("Home")
    expect(button(figure, "Previous")).to_be_disabled()
    expect(cells(figure, "out")).to_have_text(["21", *["·"] * 8])
    expect(cells(figure, "dW")).to_have_text(["·"] * 6)
    expect(figure.locator(".bp-step .bp-sum")).to_have_text(
        "out[0, 0] = 1×1 + 0×(−1) + 2×2 + 2×0 + 4×3 + (−2)×(−2) + 0 = 21"
    )
    expect(entries(figure, "products").nth(5)).to_have_text("at W[1, 2](−2)×(−2) = 4")
    page.keyboard.press("ArrowRight")
    expect(figure.locator(".cb-live")).to_contain_text("Forward, position 2 of 9: out[0, 1] = −10.")
    cells(figure, "dW").nth(4).click()
    expect(figure.locator(".bp-open .bp-sum")).to_have_text(OPENED)
    expect(figure.locator(".bp-open .bp-say")).to_contain_text("The backward pass has not begun.")


def jump(page: Page, figure: Locator) -> None:
    """Outputs and upstream gradients are places in the walk."""
    cells(figure, "out").nth(8).click()
    expect(figure.locator(".cb-live")).to_contain_text("Forward, position 9 of 9: out[2, 2] = 8.")
    button(figure, "Next").click()
    expect(cells(figure, "dX")).to_have_text(FIRST_DX)
    cells(figure, "dOut").nth(8).click()
    expect(cells(figure, "dX")).to_have_text(LAST_DX)
    page.keyboard.press("ArrowUp")
    expect(cells(figure, "dOut").nth(5)).to_be_focused()
    expect(figure.locator(".cb-live")).to_contain_text("Backward, position 6 of 9: dOut[1, 2] = 3")


def upstream(page: Page, figure: Locator) -> None:
    pick = figure.get_by_label("Upstream gradient", exact=True)
    pick.select_option(label="Loss ½(out − 2)²")
    expect(cells(figure, "dOut")).to_have_text(["19", "−12", "5", "−1", "3", "6", "3", "−6", "6"])
    button(figure, "To the end").click()
    expect(cells(figure, "dW")).to_have_text(["15", "−24", "58", "−20", "148", "−52"])
    expect(figure.locator(".bp-check")).to_contain_text("L = ½ Σ (out − 2)²")
    expect(figure.locator(".bp-numeric")).to_have_text("148.0000")
    pick.select_option(label="One hot")  # the patch in the middle, and the kernel
    expect(cells(figure, "dW")).to_have_text(["4", "−2", "0", "3", "1", "2"])
    expect(cells(figure, "db")).to_have_text(["1"])
    pick.select_option(label="All ones")
    expect(cells(figure, "dW")).to_have_text(["11", "9", "5", "9", "15", "8"])
    button(figure, "dOut[2, 2] plus 1").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the focus stays on the button
    expect(cells(figure, "dOut").last).to_have_text("3")
    expect(cells(figure, "dW")).to_have_text(["13", "13", "3", "9", "25", "12"])
    expect(pick).to_have_value("own")
    button(figure, "dOut[2, 2] minus 1").click()
    expect(cells(figure, "db")).to_have_text(["10"])
    pick.select_option(label="Mixed")


def edit(page: Page, figure: Locator) -> None:
    """image[0, 0] from 1 to 5: only dW[0, 0] reads it with dOut; what is no number changes nothing."""
    pixel = figure.get_by_label("image, row 0, column 0", exact=True)
    pixel.focus()
    page.keyboard.type("5")
    expect(cells(figure, "out").first).to_have_text("25")
    expect(cells(figure, "dW")).to_have_text(["0", *LAST_DW[1:]])
    page.keyboard.type("x")
    expect(figure.get_by_role("alert")).to_have_text("A cell takes a whole number from −9 to 9.")
    page.keyboard.press("Enter")
    expect(figure.get_by_label("image, row 1, column 0", exact=True)).to_be_focused()
    expect(pixel).to_have_value("5")
    bias = figure.get_by_label("bias", exact=True)
    bias.click()
    page.keyboard.type("-4")
    expect(cells(figure, "out").first).to_have_text("21")
    bias.fill("0")
    figure.get_by_label("kernel, row 0, column 2", exact=True).fill("-2")
    expect(cells(figure, "dX").nth(4)).to_have_text("−4")  # dOut[0, 2] = 2
    figure.get_by_label("Kernel", exact=True).select_option(label="Wide, 2 × 3")
    figure.get_by_label("Image", exact=True).select_option(label="Mixed")
    expect(cells(figure, "dX")).to_have_text(LAST_DX)


def stride_and_padding(page: Page, figure: Locator) -> None:
    figure.get_by_label("Upstream gradient", exact=True).select_option(label="All ones")
    setting(figure, "padding", 1)
    figure.locator("[data-setting=stride] input:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(cells(figure, "dW")).to_have_text(["11", "2", "11", "4", "6", "4"])
    expect(figure.locator(".bp-route").first).to_contain_text("spread out with 1 zero between its numbers")
    expect(figure.locator(".bp-dX .bp-padding")).to_have_count(22)
    expect(entries(figure, "changes of dX")).to_have_text(
        [
            "dX[3, 3]1×1 = 12 + 1 = 3",
            "dX[3, 4]1×(−1) = −10 + (−1) = −1",
            "padding1×2 = 2thrown away",
            "padding1×0 = 0thrown away",
            "padding1×3 = 3thrown away",
            "padding1×(−2) = −2thrown away",
        ]
    )
    expect(figure.locator(".bp-step .bp-say")).to_contain_text("4 cells of this patch are padding.")
    setting(figure, "padding", 0)
    expect(cells(figure, "dW")).to_have_text(["4", "4", "5", "−1", "11", "1"])
    setting(figure, "stride", 1)


def resting_pointer(page: Page, figure: Locator) -> None:
    """Scrolling under a mouse that rests, and a mouse that passes over, change nothing."""
    cells(figure, "dX").nth(7).hover()
    before = figure.locator(".cb-live").inner_text()
    figure.locator(".cb-reset").focus()
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(100)
    expect(figure.locator(".cb-live")).to_have_text(before)


def play(page: Page, figure: Locator) -> None:
    """Plays by itself and stops at the end; not offered to a reader who wants no motion."""
    if page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches"):
        expect(button(figure, "Play")).to_have_count(0)
        return
    cells(figure, "dOut").nth(6).click()
    button(figure, "Play").click()
    expect(figure.locator(".cb-live")).to_have_text("Playing, one output position after another.")
    expect(button(figure, "Pause")).to_be_visible()
    expect(figure.locator(".cb-live")).to_contain_text("Backward, position 9 of 9")
    expect(button(figure, "Play")).to_be_visible()


def reset(figure: Locator) -> None:
    button(figure, "Reset").click()
    start(figure)
