"""How a reader uses the architecture explorer, by mouse and by keyboard, with what each act must show."""

import re

START = "ResNet-50: 25.6 M parameters, 4.09 G MACs, top-1 error 19.142 %, torchvision V2"


def drive(page, figure) -> None:
    """Drive the figure from its default state; page is playwright's, figure the locator of its .cb-figure."""
    assert figure.locator(".cb-live").inner_text().startswith(START)
    _opened_at_the_start(figure)
    _points(page, figure)
    _networks_by_keyboard(page, figure)
    _blocks_by_keyboard(page, figure)
    _protocols(figure)
    _grouped_convolution(figure)
    figure.get_by_role("button", name="Reset").click()
    assert figure.locator(".cb-live").inner_text().startswith(START)
    _opened_at_the_start(figure)
    assert figure.get_by_label("Protocol of the error").input_value() == "single_crop"


def _network(figure, name: str):
    return figure.locator(f'[data-network="{name}"]')


def _row(figure, index: int):
    return figure.locator("button.ae-block").nth(index)


def _text(locator) -> str:
    return re.sub(r"\s+", " ", locator.inner_text())


def _opened_at_the_start(figure) -> None:
    """ResNet-50's second bottleneck: 256·64 + 128 + 9·64·64 + 128 + 64·256 + 512 = 70,400, and there are two."""
    assert figure.locator("button.ae-block").count() == 12
    assert figure.locator('button.ae-block[aria-expanded="true"]').count() == 1
    inside = _text(figure.locator(".ae-inside"))
    for said in (
        "the input itself is added to the branch",
        "1 × 1 × 256 × 64 = 16,384",
        "3 × 3 × 64 × 64 = 36,864",
        "MACs 36,864 × 56 × 56 = 115,605,504",
        "16,384 + 128 + 36,864 + 128 + 16,384 + 512 = 70,400; 2 such blocks: 2 × 70,400 = 140,800",
    ):
        assert said in inside, said
    totals = figure.locator(".ae-total").all_inner_texts()
    assert sum(int(text.replace(",", "")) for text in totals if text != "–") == 25_557_032


def _points(page, figure) -> None:
    """Eight networks have torchvision weights, two of them older ones too; a press on a point chooses it."""
    assert figure.locator("[data-point]").count() == 8
    assert figure.locator(".ae-ring").count() == 2
    names = figure.locator(".ae-name").all_text_contents()
    assert {"VGG-16", "ResNet-50", "ConvNeXt-T"} <= set(names)
    figure.locator('[data-point="vgg16"] .ae-hit').click()
    assert _network(figure, "vgg16").get_attribute("aria-checked") == "true"
    assert "138,357,544" in _text(figure.locator(".ae-facts"))
    assert "7.5 % top-5: 1 network, applied densely at 3 scales, validation set" in _text(figure.locator(".ae-facts"))
    assert figure.locator(".ae-inside").count() == 0
    dense = figure.locator("button.ae-block", has_text="102,764,544")
    dense.click()
    assert "25,088 × 4,096 + 4,096 = 102,764,544" in _text(figure.locator(".ae-inside"))
    box, width = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= width - box["width"], "the figure fits the page"


def _networks_by_keyboard(page, figure) -> None:
    """The list of networks is one stop of Tab; arrows walk through it and choose."""
    assert figure.locator('[role="radio"][tabindex="0"]').count() == 1
    _network(figure, "vgg16").focus()
    page.keyboard.press("End")
    assert figure.locator(".cb-live").inner_text().startswith("ConvNeXt-T: 28.6 M parameters, 4.46 G MACs")
    page.keyboard.press("ArrowUp")
    assert "not in this plot" in figure.locator(".cb-live").inner_text()
    assert "EfficientNet-Lite0" in _text(figure.locator(".ae-absent summary"))
    page.keyboard.press("Home")
    assert _network(figure, "lenet5_1998").evaluate("(node) => node === document.activeElement")
    assert "0.95 % error on the 10,000 test digits of MNIST" in _text(figure.locator(".ae-note"))
    _network(figure, "mobilenet_v2").click()
    assert figure.locator("button.ae-block").count() == 16


def _blocks_by_keyboard(page, figure) -> None:
    """Enter opens a row and closes it, the arrows move, and the focus stays where it was."""
    _row(figure, 0).focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    inside = _text(figure.locator(".ae-inside"))
    assert "3×3 depthwise convolution, 144 → 144 3 × 3 × 1 × 144 = 1,296" in inside
    assert "3,456 + 288 + 1,296 + 288 + 3,456 + 48 = 8,832" in inside
    assert _row(figure, 3).evaluate("(node) => node === document.activeElement")
    assert _row(figure, 3).get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    assert figure.locator(".ae-inside").count() == 0
    assert _row(figure, 3).evaluate("(node) => node === document.activeElement && node.tabIndex === 0")


def _protocols(figure) -> None:
    """Under the papers' protocols other networks stand in the plot; those without a value are named with the reason."""
    figure.get_by_label("Protocol of the error").select_option("paper")
    assert figure.locator("[data-point]").count() == 9
    assert figure.locator(".ae-ring").count() == 0
    summary = figure.locator(".ae-absent summary")
    assert "Not in this plot, 9:" in _text(summary)
    summary.click()
    assert "VGG-16 Only a top-5 error is reported: 7.5 %." in _text(figure.locator(".ae-absent"))
    summary.press("Enter")
    figure.get_by_label("Error", exact=True).select_option("top5")
    assert figure.locator("[data-point]").count() == 5
    figure.get_by_label("Across").select_option("year")
    said = figure.locator(".ae-plot").get_attribute("aria-label")
    assert said.startswith("Top-5 error against Year, 5 networks: AlexNet 18.2 %, VGG-16 7.5 %, GoogLeNet 7.89 %")
    figure.locator('[data-point="googlenet"] .ae-hit').click()
    assert "Branches side by side" in _opened(figure, "128,049,152", 5)


def _opened(figure, macs: str, row: int) -> str:
    _row(figure, row).click()
    inside = _text(figure.locator(".ae-inside"))
    assert f"= {macs}" in inside
    return inside


def _grouped_convolution(figure) -> None:
    """AlexNet's second convolution sees half of the 96 channels: 5·5·48·256 + 256."""
    _network(figure, "alexnet_2012").click()
    assert "5 × 5 × (96 ÷ 2) × 256 + 256 = 307,456" in _opened(figure, "223,948,800", 2)
