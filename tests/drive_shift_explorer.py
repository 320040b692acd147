"""Uses the shift explorer as a reader would; the numbers it must show were found with NumPy or counted by hand."""

from playwright.sync_api import Locator, Page, expect


def drive(page: Page, figure: Locator) -> None:
    start(figure)
    by_strip_and_keys(page, figure)
    by_drag(page, figure)
    down_to_the_products(page, figure)
    error_opened(figure)
    counts_opened(figure)
    circular_and_stride(figure)
    checkerboard(figure)
    fits(page, figure)
    reset(figure)


def card(figure: Locator, key: str) -> Locator:
    return figure.locator(f"[data-card={key}]")


def expect_value(figure: Locator, key: str, text: str) -> None:
    expect(card(figure, key).locator(".se-value")).to_have_text(text)


def choose(figure: Locator, label: str, option: str) -> None:
    figure.get_by_label(label, exact=True).select_option(label=option)


def image(figure: Locator) -> Locator:
    return figure.get_by_role("application", name="Image")


def dots(figure: Locator, level: str) -> Locator:
    return figure.locator(f".se-{level} circle")


def start(figure: Locator) -> None:
    """A 4 of MNIST moved 1 to the right: the feature map follows exactly, the pooled map cannot."""
    expect_value(figure, "feature_error", "0")
    expect_value(figure, "pooled_error", "3.59")
    expect_value(figure, "pooled_survivors", "78 %")
    expect(card(figure, "pooled_survivors")).to_contain_text("153 of 196; 143 of these are 0 before and after.")
    expect_value(figure, "average", "0.493")
    expect(card(figure, "average")).to_contain_text("Before the move 0.454. Change +0.039")
    expect(figure.locator(".se-result")).to_have_text(["= 1.81", "= 3.29"])
    expect(figure.locator(".se-verdict")).to_have_text("|1.81 − 3.29| = 1.48: this value changed.")
    expect(dots(figure, "pooled")).to_have_count(196 - 153)
    expect(figure.locator(".cb-live")).to_contain_text("Moved 1 right. Feature map: error 0. Pooled map: error 3.59")


def by_strip_and_keys(page: Page, figure: Locator) -> None:
    """Even moves are exact for the pooled map too, with the map moved by half."""
    moves = figure.get_by_role("radio")
    expect(moves).to_have_count(9)
    moves.nth(2).click()
    expect_value(figure, "pooled_error", "0")
    expect_value(figure, "pooled_survivors", "69 %")
    expect(card(figure, "pooled_error")).to_contain_text("Exact: every value agrees with the map moved 1 right.")
    page.keyboard.press("ArrowRight")
    expect(moves.nth(3)).to_be_focused()
    expect(moves.nth(3)).to_have_attribute("aria-checked", "true")
    expect_value(figure, "pooled_error", "3.59")
    image(figure).focus()
    for key in ("Home", "ArrowLeft", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(figure.get_by_role("slider", name="dx")).to_have_value("-1")
    expect(figure.locator(".cb-live")).to_contain_text("Moved 1 left and 2 down.")
    expect(moves.nth(8)).to_have_text("−8")
    figure.get_by_role("slider", name="dy").press("ArrowLeft")
    expect(figure.locator(".cb-live")).to_contain_text("Moved 1 left and 1 down.")
    image(figure).press("Home")
    expect(figure.locator(".cb-live")).to_contain_text("Not moved. Feature map: error 0. Pooled map: error 0, 100 %")
    expect(dots(figure, "pooled")).to_have_count(0)


def by_drag(page: Page, figure: Locator) -> None:
    image(figure).scroll_into_view_if_needed()
    box = image(figure).bounding_box()
    x, y, pixel = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"] / 28
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3 * pixel, y - 2 * pixel, steps=4)
    expect(figure.locator(".cb-live")).to_contain_text("Moved 3 right and 2 up.")
    page.mouse.move(x + 40 * pixel, y, steps=4)
    page.mouse.up()
    expect(figure.locator(".cb-live")).to_contain_text("Moved 8 right.")  # and no further
    page.mouse.move(x, y)
    expect(figure.get_by_role("slider", name="dx")).to_have_value("8")
    figure.get_by_role("radio").nth(1).click()


def down_to_the_products(page: Page, figure: Locator) -> None:
    """Pooled value, the feature value that won, its nine products; then along the map with the arrow keys."""
    grid = figure.get_by_role("grid", name="Pooled map")
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 10.5 / 14, "y": box["height"] * 3.5 / 14})
    expect(figure.locator(".se-result")).to_have_text(["= 3.29", "= 0"])
    figure.locator(".se-now .se-winner button").press("Enter")
    expect(figure.locator(".se-crumbs [aria-current]")).to_be_focused()
    expect(figure.locator(".se-crumbs [aria-current]")).to_have_text("feature[7, 20]")
    products = figure.locator(".se-now .se-terms li")
    expect(products).to_have_count(9)
    total = sum(
        float(text.replace("−", "-"))
        for text in figure.locator(".se-now li b").all_inner_texts()
        for text in [text[2:]]
    )
    assert abs(total - 3.29) < 1e-9
    cell = figure.get_by_role("grid", name="Feature map").get_by_role("gridcell")
    cell.focus()
    page.keyboard.press("ArrowLeft")
    expect(cell).to_be_focused()
    expect(cell).to_have_attribute("aria-label", "feature[7, 19] = 1.79")
    expect(figure.locator(".se-now .se-result")).to_have_text("= 1.79")
    figure.get_by_role("button", name="Global average", exact=True).press("Enter")
    expect(figure.locator(".se-result")).to_have_text(["≈ 0.493", "≈ 0.454"])


def error_opened(figure: Locator) -> None:
    """The largest difference from the map moved by the best whole shift, and why there is no better."""
    card(figure, "pooled_error").click()
    expect(card(figure, "pooled_error")).to_have_attribute("aria-pressed", "true")
    expect(figure.locator(".se-result")).to_have_text(["= 0", "= 3.59"])
    expect(figure.locator(".se-opened")).to_contain_text(
        "One step of this map is 2 pixels, and 1 pixel right is no whole"
    )
    expect(dots(figure, "feature")).to_have_count(0)
    expect(dots(figure, "pooled")).to_have_count(39)
    choose(figure, "Dots: values that", "changed in place")
    expect(dots(figure, "feature")).to_have_count(784 - 632)


def counts_opened(figure: Locator) -> None:
    card(figure, "pooled_survivors").press("Enter")
    expect(figure.locator(".se-lines dd").nth(2)).to_have_text("10 of 53 that are not 0 both times = 19 %")


def circular_and_stride(figure: Locator) -> None:
    """Noise, circular: exact at stride 1; at stride 2 exact for even moves alone."""
    choose(figure, "Image", "Noise")
    choose(figure, "Kernel, then ReLU", "Random")
    choose(figure, "Padding", "Circular")
    for dx in (1, 5):
        figure.get_by_role("radio").nth(dx).click()
        expect_value(figure, "feature_error", "0")
    choose(figure, "Stride", "2")
    expect(card(figure, "feature_error")).to_contain_text("No whole shift matches")
    figure.get_by_role("radio").nth(4).click()
    expect_value(figure, "feature_error", "0")
    expect(card(figure, "feature_error")).to_contain_text("the map moved 2 right.")
    expect_value(figure, "pooled_error", "0")
    expect(figure.locator(".se-pooled-panel .se-size")).to_have_text("7 × 7")


def checkerboard(figure: Locator) -> None:
    """Squares of 2: moved by 2 it is its own negative, by 4 itself; the mean of 2 × 2 aligned squares keeps 0 or 1."""
    choose(figure, "Image", "Checkerboard")
    choose(figure, "Kernel, then ReLU", "Identity")
    choose(figure, "Stride", "1")
    choose(figure, "Pooling", "Average 2 × 2")
    expect_value(figure, "pooled_survivors", "100 %")
    figure.get_by_role("radio").nth(2).click()
    expect_value(figure, "pooled_survivors", "0 %")
    expect_value(figure, "pooled_error", "0")
    expect_value(figure, "average", "0.5")
    figure.get_by_role("radio").nth(1).click()
    expect_value(figure, "pooled_error", "0.5")  # every mean is now a half
    choose(figure, "Pooling", "None")
    expect_value(figure, "pooled_error", "0")
    expect(figure.locator(".se-pooled-panel .se-size")).to_have_text("28 × 28, as it is")
    choose(figure, "Pooling", "Blur-pool")
    assert "NaN" not in figure.inner_text()


def fits(page: Page, figure: Locator) -> None:
    box, wide = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= wide - box["width"]


def reset(figure: Locator) -> None:
    figure.get_by_role("button", name="Reset").click()
    start(figure)
