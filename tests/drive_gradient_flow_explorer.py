"""How a reader uses the gradient-flow explorer, by mouse and by keyboard, with what each act must show."""

import re

START = {"plain-median": "2.1 × 10⁻¹⁶", "skip-median": "151"}


def drive(page, figure) -> None:
    """Drive the figure from its default state; page is playwright's, figure the locator of its .cb-figure."""
    _expect(figure, START)
    assert "Plain: 2.1 × 10⁻¹⁶. Skip: 151." in _text(figure.locator(".cb-live"))
    _no_hovering(page, figure)
    _exactly_zero(page, figure)
    _hand_counts(figure)
    _opens_a_block(page, figure)
    _components(page, figure)
    _networks(figure)
    _presets(figure)
    _fits(page, figure)
    figure.get_by_role("button", name="Reset").click()
    _expect(figure, START)
    assert _slider(figure, "Block opened").input_value() == "25"
    assert _pressed(figure) == ["Plain against skip, s = 0.5", "Components, skip"]


def _text(node) -> str:
    return node.inner_text().replace("\u00a0", " ")


def _expect(figure, shown: dict[str, str]) -> None:
    found = {key: _text(figure.locator(f'[data-value="{key}"]')) for key in shown}
    assert found == shown, f"{found}, expected {shown}"


def _slider(figure, name: str):
    return figure.get_by_role("slider", name=name)


def _pressed(figure) -> list[str]:
    return [_text(button) for button in figure.locator('button[aria-pressed="true"]').all()]


def _card(figure, chain: str) -> str:
    return " ".join(_text(figure.locator(f'[data-card="{chain}"]')).split())


def _no_hovering(page, figure) -> None:
    """A pointer that rests on the picture opens nothing; a press does: block 50 lies at its right end."""
    hit = figure.locator(".gf-hit")
    box = hit.bounding_box()
    hit.hover()
    assert _slider(figure, "Block opened").input_value() == "25"
    hit.click(position={"x": box["width"] - 2, "y": 40})
    assert _slider(figure, "Block opened").input_value() == "50"
    hit.click(position={"x": box["width"] * 0.51, "y": 40})
    assert _slider(figure, "Block opened").input_value() == "26"


def _exactly_zero(page, figure) -> None:
    """J = −I: I + J = 0, by hand 1 − 1 = 0 in the last block, and nothing arrives in any other."""
    figure.get_by_role("button", name="Skip, J = −I").press("Enter")
    _expect(figure, {"skip-median": "0", "skip-all": "0", "skip-range": "0", "skip-norms": "1"})
    assert figure.locator('[data-value="plain-median"]').count() == 0
    assert "‖g₄₉‖ = ‖(I + J)ᵀ g₅₀‖ 1 × 0 = 0" in _card(figure, "skip")
    _slider(figure, "Block opened").press("ArrowLeft")
    assert "0: nothing arrives" in _card(figure, "skip")
    assert _pressed(figure) == ["Skip, J = −I: exactly 0"], "another block of the same example"
    assert "exactly 0 above this block" in _text(figure.locator(".gf-opened"))


def _hand_counts(figure) -> None:
    """s from 1 to 0.95: each block leaves 1 − 0.95 = 0.05, and 0.05^50 = 8.9e-66; three blocks at s = 1.5: 0.5³."""
    scale, depth = _slider(figure, "Branch scale s"), _slider(figure, "Depth L")
    scale.press("ArrowLeft")
    assert _text(figure.locator(".gf-note")).startswith("Move the sliders")
    _expect(figure, {"skip-median": "8.9 × 10⁻⁶⁶", "skip-norms": "0.95"})
    figure.get_by_role("combobox", name="Chain").select_option(label="Plain and skip")
    _expect(figure, {"plain-median": "0.0769", "skip-median": "8.9 × 10⁻⁶⁶"})  # 0.95^50 = 0.0769
    scale.press("End")
    depth.press("Home")
    for _ in range(2):
        depth.press("ArrowRight")
    _expect(figure, {"plain-median": "3.38", "skip-median": "0.125", "skip-bound": "0 to 15.6"})  # 1.5³, 0.5³, 2.5³
    assert "‖Jₗ‖ is 1 or more at 3 of 3 blocks" in _text(figure.locator(".gf-table"))
    scale.press("Home")
    _expect(figure, {"plain-median": "0", "skip-median": "1", "skip-bound": "1"})


def _opens_a_block(page, figure) -> None:
    """The block stays within the depth; s = 0.05 twice: I + J shortens by 0.9, and 0.9³ = 0.729 is the lower bound."""
    layer = _slider(figure, "Block opened")
    assert layer.input_value() == layer.get_attribute("max") == "3"
    scale = _slider(figure, "Branch scale s")
    for _ in range(2):
        scale.press("ArrowRight")
    _expect(figure, {"skip-median": "0.729", "skip-bound": "0.729 to 1.33", "plain-median": "0.001"})
    layer.press("Home")
    card = _card(figure, "skip")
    assert "‖g₁‖, what arrives 0.81" in card
    assert "‖g₀‖ = ‖(I + J)ᵀ g₁‖ 0.81 × 0.9 = 0.729" in card
    assert "Factors that ‖J‖ allows 0.9 to 1.1" in card
    figure.get_by_role("button", name="Components, plain").press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Components, plain", "the focus stays"
    assert "Plain, block 1: the factor 0.1" in _text(figure.locator(".gf-opened h4"))
    figure.get_by_role("button", name="Components, skip").click()
    assert "√0.81 ≈ 0.9" in _text(figure.locator(".gf-opened"))


def _components(page, figure) -> None:
    """Arrow keys choose a component: J = −0.1·I, so only one of 16 products is not 0, and what leaves is 0.9 v."""
    figure.get_by_role("radio", name="Component 1:").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Component 3:")
    words = _text(figure.locator(".gf-opened"))
    before, branch, after = (
        float(value.replace("−", "-").strip("()"))
        for value in re.search(r"v₃ \+ the sum = (\S+) \+ (\S+) ≈ (\S+)\. ", words).groups()
    )
    assert abs(branch + 0.1 * before) < 0.001
    assert abs(after - 0.9 * before) < 0.0015
    products = [_text(each) for each in figure.locator(".gf-products b").all()]
    assert len(products) == 16
    assert [place for place, text in enumerate(products, 1) if text != "0.000"] == [3]
    page.keyboard.press("End")
    assert figure.get_by_role("radio", name="Component 16:").get_attribute("aria-checked") == "true"


def _networks(figure) -> None:
    """Random branches: another network and other weights give other numbers; every number lies within its bound."""
    figure.get_by_role("combobox", name="Kind of branch F").select_option(label="Linear")
    seen = []
    net, again = _slider(figure, "Network opened"), figure.get_by_role("button", name="Draw other weights")
    for act in (lambda: net.press("ArrowRight"), lambda: net.press("End"), again.click):
        act()
        value, bound = (_text(figure.locator(f'[data-value="skip-{key}"]')) for key in ("net", "bound"))
        low, high = (float(each) for each in bound.split(" to "))
        assert 0 < low < float(value) < high
        seen.append(value)
    assert len(set(seen)) == 3
    assert net.input_value() == "21"


def _presets(figure) -> None:
    """A preset is pressed exactly while its state holds, whichever block is open."""
    button = figure.get_by_role("button", name="Skip, s = 0.1: stays")
    button.click()
    assert "so the product of all 1 − ‖Jₗ‖ bounds the gradient from below" in _text(figure.locator(".gf-table"))
    _slider(figure, "Block opened").press("ArrowRight")
    assert button.get_attribute("aria-pressed") == "true"
    figure.get_by_role("button", name="ReLU after the addition").press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert re.search(r"Outputs that are on after the ReLU \d+ of 16", _card(figure, "skip"))
    assert "(I + J)ᵀ D g" in _card(figure, "skip")
    assert "no lower bound, since the ReLU after the addition" in _text(figure.locator(".gf-table"))


def _fits(page, figure) -> None:
    """The deepest chains with the widest numbers do not widen the page."""
    figure.get_by_role("combobox", name="Chain").select_option(label="Plain and skip")
    _slider(figure, "Depth L").press("End")
    box, page_width = figure.bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert 0 <= box["x"] <= page_width - box["width"], "the longest numbers fit the page"
