"""How a reader uses the parameter ladder, by mouse and by keyboard, with what each act must show."""

START = {"dense": "483,385,147,392", "local": "86,704,128", "shared": "1,728"}


def drive(page, figure) -> None:
    """Drive the figure from its default state; page is playwright's, figure the locator of its .cb-figure."""
    _expect(figure, START)
    _expect(figure, {"dense": START["dense"], "local": "86,704,128", "shared": "86,704,128"}, value="macs")
    _expect(figure, {"dense": "1.93 TB", "local": "347 MB", "shared": "6.91 kB"}, value="memory")
    _expect(figure, {"dense": "7.73 TB", "local": "1.39 GB", "shared": "27.6 kB"}, value="training")
    _start_steps(figure)
    _opens_a_count(page, figure)
    _kernel_by_keyboard(page, figure)
    _presets(figure)
    _drawings(page, figure)
    figure.get_by_role("button", name="Reset").click()
    _expect(figure, START)
    assert figure.locator("details[open]").count() == 0
    assert "Output 3 uses weights 7 to 9 of 15." in _layer(figure, "local").inner_text()


def _layer(figure, layer):
    return figure.locator(f'[data-layer="{layer}"]')


def _expect(figure, shown: dict[str, str], value: str = "weights") -> None:
    found = {layer: _layer(figure, layer).locator(f'[data-value="{value}"]').inner_text() for layer in shown}
    assert found == shown, f"{value}: {found}, expected {shown}"


def _start_steps(figure) -> None:
    assert "about 5,575 times fewer" in _layer(figure, "local").locator(".pl-step").inner_text()
    step = _layer(figure, "shared").locator(".pl-step").inner_text()
    assert "50,176 times fewer" in step
    assert "as many as before" in step
    assert "about 280 million times fewer than dense" in figure.locator(".cb-live").inner_text()
    rings = {layer: figure.locator(f'[data-bar="{layer}"] .pl-ring') for layer in START}
    ends = {layer: float(ring.evaluate("(node) => parseFloat(node.style.left)")) for layer, ring in rings.items()}
    assert ends["dense"] > ends["local"] == ends["shared"], "the ring does not move from local to convolution"


def _opens_a_count(page, figure) -> None:
    """A summary opens by mouse, and closes and opens by Enter."""
    summary = _layer(figure, "shared").locator("summary")
    summary.click()
    assert "27 × 64 = 1,728" in _layer(figure, "shared").locator("ul").inner_text()
    assert "1,728 × 50,176 = 86,704,128" in _layer(figure, "shared").locator("ul").inner_text()
    summary.press("Enter")
    assert _layer(figure, "shared").locator("details[open]").count() == 0
    summary.press("Enter")
    page.wait_for_function("(node) => node.open", arg=_layer(figure, "shared").locator("details").element_handle())


def _kernel_by_keyboard(page, figure) -> None:
    """Kernel 3 to 5: 5·5·3·64 = 4,800 weights; then the side from 224 to its next stop, 256."""
    figure.get_by_role("slider", name="Kernel side K").press("ArrowRight")
    _expect(figure, {"dense": START["dense"], "local": "240,844,800", "shared": "4,800"})
    side = figure.get_by_role("slider", name="Side H = W")
    side.press("ArrowRight")
    assert side.get_attribute("aria-valuetext") == "256"
    _expect(figure, {"dense": "824,633,720,832", "local": "314,572,800", "shared": "4,800"})
    side.press("End")
    figure.get_by_role("slider", name="Input channels").press("End")
    figure.get_by_role("slider", name="Output channels").press("End")
    _expect(figure, {"dense": "18,014,398,509,481,984", "shared": "6,553,600"})
    box, page_width = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= page_width - box["width"], "the largest numbers fit the page"


def _presets(figure) -> None:
    """A preset is pressed exactly while its sizes hold; MNIST at the smallest side with the largest kernel says so."""
    button = figure.get_by_role("button", name="MNIST first layer")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    _expect(figure, {"dense": "19,668,992", "local": "225,792", "shared": "288"})
    figure.get_by_role("slider", name="Side H = W").press("Home")
    figure.get_by_role("slider", name="Kernel side K").press("End")
    assert button.get_attribute("aria-pressed") == "false"
    _expect(figure, {"dense": "131,072", "local": "247,808", "shared": "3,872"})
    assert "about 1.89 times more" in _layer(figure, "local").locator(".pl-step").inner_text()
    figure.get_by_role("button", name="Deep layer").press("Enter")
    _expect(figure, {"dense": "2,517,630,976", "local": "115,605,504", "shared": "589,824"})


def _drawings(page, figure) -> None:
    """The chosen output of the small drawings, by slider and by pressing on one."""
    slider = figure.get_by_role("slider", name="Output in the drawings")
    slider.press("Home")
    assert "Output 1 uses weights 1 to 3 of 15, one of them on padding." in _layer(figure, "local").inner_text()
    _layer(figure, "dense").locator(".pl-hit").nth(3).click()
    assert slider.input_value() == "4"
    assert "Output 4 uses weights 16 to 20 of 25." in _layer(figure, "dense").inner_text()
    assert "Output 4 uses weights 10 to 12 of 15." in _layer(figure, "local").inner_text()
    assert "Output 4 uses weights 1 to 3 of 3." in _layer(figure, "shared").inner_text()
