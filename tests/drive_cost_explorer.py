"""How a reader uses the cost explorer, by mouse and by keyboard, with what each act must show."""

KINDS = ("standard", "bottleneck", "grouped", "separable")
START = {"standard": "589,824", "bottleneck": "69,632", "grouped": "18,432", "separable": "67,840"}
REDUCTIONS = {"standard": "1×", "bottleneck": "8.47×", "grouped": "32×", "separable": "8.69×"}


def drive(page, figure) -> None:
    """Drive the figure from its default state; page is playwright's, figure the locator of its .cb-figure."""
    _expect(figure, START)
    _expect(figure, REDUCTIONS, "reduction")
    _expect(figure, {"bottleneck": "0.118", "grouped": "0.0313", "separable": "0.115"}, "fraction")
    _opened(figure, "Depthwise separable, reduction: 8.69×", "1 ÷ (1/256 + 1/9) ≈ 8.69", "589,824 ÷ 67,840 ≈ 8.69")
    assert "8.69 times fewer MACs, but only 2.57 times fewer bytes" in figure.locator(".ce-time").inner_text()
    _opens_numbers(page, figure)
    _sizes_by_keyboard(page, figure)
    _groups_that_do_not_divide(page, figure)
    _presets(figure)
    _drawings(figure)
    _curve(figure)
    figure.get_by_role("button", name="Reset").click()
    _expect(figure, START)
    _opened(figure, "Depthwise separable, reduction: 8.69×")
    assert "output channel 3 at position 4" in _drawing(figure, "standard")
    assert "bottleneck 8.47×, grouped 32×, depthwise separable 8.69×" in figure.locator(".cb-live").inner_text()


def _cell(figure, kind: str, quantity: str):
    return figure.locator(f'[data-cell="{kind}-{quantity}"]')


def _expect(figure, shown: dict[str, str], quantity: str = "params") -> None:
    found = {kind: _cell(figure, kind, quantity).locator("b").inner_text() for kind in shown}
    assert found == shown, f"{quantity}: {found}, expected {shown}"


def _opened(figure, title: str, *lines: str) -> None:
    text = " ".join(figure.locator(".ce-opened").inner_text().split())
    for words in (title, *lines):
        assert words in text, f"{words!r} not in {text!r}"


def _drawing(figure, kind: str) -> str:
    return figure.locator(f'[data-drawing="{kind}"] svg').get_attribute("aria-label")


def _opens_numbers(page, figure) -> None:
    """One number by mouse, its neighbours by arrow keys; Tab leaves the table at once."""
    _cell(figure, "bottleneck", "params").click()
    _opened(figure, "Bottleneck, weights: 69,632", "64 × 64 × 3 × 3 = 36,864", "16,384 + 36,864 + 16,384 = 69,632")
    page.keyboard.press("ArrowDown")
    _opened(figure, "Grouped, weights: 18,432", "= 32 × 8 × 8 × 3 × 3 = 18,432")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    _opened(figure, "Depthwise separable, MACs: 13.3 million", "2,304 × 14 × 14 = 451,584")
    page.keyboard.press("ArrowRight")
    _opened(figure, "bytes moved: 1.07 MB", "50,176 + 50,176 + 65,536 = 165,888", "4 × 268,544 = 1,074,176")
    page.keyboard.press("ArrowRight")
    _opened(figure, "MACs per byte: 12.4", "451,584 ÷ (4 × 102,656) ≈ 1.10")
    page.keyboard.press("ArrowRight")
    _opened(figure, "Depthwise separable, fraction: 0.115", "1/256 + 1/9 ≈ 0.115")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.cell") == "separable-params"
    assert figure.locator('[role="gridcell"][tabindex="0"]').count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Channel of the output value"


def _sizes_by_keyboard(page, figure) -> None:
    """Kernel 5: 25·256·256 weights, and 1 ÷ (1/256 + 1/25) = 22.8; then everything at its largest still fits."""
    kernel = figure.get_by_role("slider", name="Kernel side K")
    kernel.press("ArrowRight")
    _expect(figure, {"standard": "1,638,400", "separable": "71,936"})
    _expect(figure, {"separable": "22.8×"}, "reduction")
    for name in ("Kernel side K", "Input channels", "Output channels", "Side H = W", "Bottleneck width"):
        figure.get_by_role("slider", name=name).press("End")
    _expect(figure, {"standard": "205,520,896", "bottleneck": "55,574,528"})
    _expect(figure, {"standard": "10.3 trillion"}, "macs")
    box, page_width = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= page_width - box["width"], "the largest numbers fit the page"
    figure.get_by_role("button", name="Reset").click()


def _groups_that_do_not_divide(page, figure) -> None:
    """48 channels: 32 groups are refused in words, the other kinds stay, and a button leads to 16 groups."""
    wide = figure.get_by_role("slider", name="Input channels")
    wide.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert wide.get_attribute("aria-valuetext") == "48"
    words = "32 groups do not divide the 48 input channels evenly. Possible here: 1, 2, 4, 8 or 16."
    assert words in figure.locator(".ce-wrong").inner_text()
    _expect(figure, {"standard": "110,592", "grouped": "none", "separable": "12,720"})
    figure.get_by_role("button", name="Use 16 groups").press("Enter")
    _expect(figure, {"grouped": "6,912"})
    assert figure.locator(".ce-wrong").count() == 0
    groups = figure.get_by_role("slider", name="Groups G")
    groups.press("ArrowLeft")
    assert groups.get_attribute("aria-valuetext") == "8"
    _expect(figure, {"grouped": "13,824"})


def _presets(figure) -> None:
    """A preset is pressed exactly while its sizes hold."""
    button = figure.get_by_role("button", name="MobileNet layer")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    _expect(figure, {"standard": "73,728", "separable": "8,768"})
    _expect(figure, {"separable": "8.41×"}, "reduction")
    _cell(figure, "separable", "bytes").click()
    _opened(figure, "bytes moved: 16.1 MB", "4 × 4,022,848 = 16,091,392")
    assert "8.41 times fewer MACs, yet 1.62 times more bytes" in figure.locator(".ce-time").inner_text()
    figure.get_by_role("button", name="Large kernel").press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    _expect(figure, {"standard": "7,225,344", "separable": "166,272"})
    figure.get_by_role("button", name="ResNeXt").click()
    _expect(figure, {"standard": "147,456", "grouped": "4,608"})
    figure.get_by_role("button", name="ResNet-50").click()
    _expect(figure, START)
    _expect(figure, {"standard": "1.85 billion"}, "macs")


def _drawings(figure) -> None:
    """Another output value: by slider, then by pressing on the output map (channel 8 is in its lowest row)."""
    words = "It sees 3 × 3 × 8 = 72 values: only the 8 channels of its group."
    assert words in figure.locator('[data-drawing="grouped"]').inner_text()
    slider = figure.get_by_role("slider", name="Its position")
    slider.press("Home")
    assert "output channel 3 at position 1 sees input channels 3 to 4 at positions 1 to 2" in _drawing(
        figure, "grouped"
    )
    assert "sees input channels 1 to 8 at positions 1 to 2" in _drawing(figure, "separable")
    target = figure.locator('[data-drawing="grouped"] .ce-hit')
    box = target.bounding_box()
    target.click(position={"x": box["width"] - 2, "y": box["height"] - 2})
    assert slider.input_value() == "7"
    assert "output channel 8 at position 7 sees input channels 7 to 8 at positions 6 to 7" in _drawing(
        figure, "grouped"
    )


def _curve(figure) -> None:
    """A press near the middle of the log axis is 48 output channels: 1 ÷ (1/48 + 1/9) = 7.58."""
    assert "at 256 channels it is 8.69" in figure.locator(".ce-plot").get_attribute("aria-label")
    figure.locator(".ce-plot .ce-hit").click()
    assert figure.get_by_role("slider", name="Output channels").get_attribute("aria-valuetext") == "48"
    _expect(figure, {"separable": "7.58×"}, "reduction")
