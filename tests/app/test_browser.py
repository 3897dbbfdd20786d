from urllib.parse import parse_qs, unquote, urlsplit

import httpx
from browsing import (
    HOSTILE,
    NO_WEBGL,
    as_shown,
    browser,
    colours_in,
    place_of,
    ranking,
    until,
    visitor,
)

__all__ = ["browser", "visitor"]  # fixtures


def test_the_page_is_drawn_by_its_own_server_alone(visitor):
    failed = []
    page = visitor.page()
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("response", lambda answer: answer.ok or failed.append(answer.url))
    page.goto(visitor.url)
    page.wait_for_selector("html[data-ready=map]")
    page.wait_for_load_state("networkidle")
    assert page.title() == "zones – geocsp"
    assert page.locator("#model-name").text_content() == "zones"
    assert colours_in(page, "#map") > 20
    assert visitor.asked("/api/tiles/class/")
    assert failed == []


def test_a_click_on_the_map_answers_as_the_api_does(visitor):
    page = visitor.open("#view=20,20,2")
    page.mouse.click(500, 400)
    page.wait_for_selector(".bars li")
    lon, lat = place_of(page)
    told = httpx.get(f"{visitor.url}/api/place", params={"lon": lon, "lat": lat}).json()
    assert ranking(page.locator("#place .bars")) == as_shown(told["classes"])
    like = httpx.get(f"{visitor.url}/api/similar", params={"lon": lon, "lat": lat}).json()
    listed = page.locator("#place .places .value").all_text_contents()
    shown = [f"similarity {one['similarity']:.3f}" for one in like["places"]]
    assert listed == shown
    assert page.locator(".mark").count() == len(shown)
    assert told["classes"][0]["name"] in page.locator("#live").text_content()


def test_a_similar_place_is_flown_to_and_colours_the_map(visitor):
    page = visitor.open("#place=20,20&view=20,20,2")
    page.locator("#place .places button").nth(2).click()
    like = httpx.get(f"{visitor.url}/api/similar?lon=20&lat=20").json()["places"][2]
    view = f"view={like['lon']:.2f},{like['lat']:.2f}"
    until(page, f"location.hash.includes('{view}')")
    with page.expect_response(lambda answer: "/api/tiles/similar/" in answer.url) as found:
        page.get_by_role("button", name="Colour the map by this").click()
    assert parse_qs(urlsplit(found.value.url).query) == {"lon": ["20"], "lat": ["20"]}
    assert page.get_by_role("radio", name="Similar").is_checked()


def test_the_legend_of_embeddings_has_no_numbers(visitor):
    page = visitor.open()
    page.locator("label[for=layer-embedding]").click()
    page.locator("#legend").get_by_text("Like colours, like places").wait_for()
    assert page.locator("#legend .ramp").count() == 0
    assert page.locator("#alert").text_content() == ""


def test_a_flight_goes_on_while_the_panel_is_used(visitor):
    like = httpx.get(f"{visitor.url}/api/similar?lon=20&lat=20").json()["places"][0]
    near = f"#place=20,20&view={like['lon'] - 30:.2f},{like['lat']:.2f},3"
    page = visitor.open(near, reduced_motion="no-preference")
    page.wait_for_selector("#place .places button")
    page.evaluate(
        """() => {
          document.querySelector("#place .places button").click();
          setTimeout(() => document.querySelector("#tab-about").click(), 300);
        }"""
    )
    until(page, f"location.hash.includes('view={like['lon']:.2f},{like['lat']:.2f}')")


def test_another_class_asks_for_other_tiles(visitor):
    page = visitor.open()
    assert visitor.asked("class=sea+ice")
    assert not visitor.asked("class=rainforest")
    box = page.get_by_role("combobox", name="Class")
    box.fill("RAIN")
    assert page.get_by_role("option").all_text_contents() == ["rainforest"]
    with page.expect_response(_is_rainforest_tile) as found:
        box.press("Enter")
    assert found.value.ok
    told = httpx.get(f"{visitor.url}/api/legend/class", params={"class": "rainforest"}).json()
    caption = page.locator("#legend figcaption")
    caption.get_by_text(told["title"]).wait_for()
    assert caption.text_content() == " ".join(filter(None, (told["title"], told["unit"])))
    assert "class=rainforest" in page.url


def _is_rainforest_tile(answer):
    return "/api/tiles/class/" in answer.url and "class=rainforest" in answer.url


def test_the_address_holds_the_state_and_back_goes_back(visitor):
    address = "#layer=class&class=desert&place=20.0000,20.0000&view=20.00,20.00,3.00&opacity=40"
    page = visitor.open(address)

    def check():
        page.wait_for_selector("html[data-ready=map]")
        page.wait_for_selector(".bars li")
        assert page.get_by_role("combobox", name="Class").input_value() == "desert"
        assert page.get_by_role("slider", name="Opacity").input_value() == "40"
        assert page.locator("#lon").input_value() == "20"
        assert page.locator(".place-title").text_content() == "20.00° N, 20.00° E"

    check()
    page.reload()
    check()
    page.get_by_role("tab", name="About").click()
    page.get_by_role("heading", name="This model").wait_for()
    page.go_back()
    check()
    page.get_by_text("Uncertainty", exact=True).click()
    until(page, "location.hash.includes('layer=uncertainty')")
    page.go_back()
    until(page, "location.hash.includes('layer=class')")
    assert page.get_by_role("radio", name="Class").is_checked()


def test_everything_can_be_done_with_the_keyboard(visitor):
    page = visitor.open()
    focused = "document.activeElement.id || document.activeElement.className"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "theme"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "maplibregl-canvas"
    assert page.locator("#map-help").evaluate("element => getComputedStyle(element).opacity") == "1"
    page.keyboard.press("Enter")
    page.wait_for_selector(".bars li")
    first = place_of(page)
    page.keyboard.press("ArrowRight")
    until(page, "location.hash.includes('view=')")
    page.keyboard.press("Enter")
    until(page, f"!location.hash.includes('place={first[0]:.4f}')")
    assert place_of(page)[0] > first[0]
    while page.evaluate(focused) != "tab-explore":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "tab-photos"
    assert page.get_by_role("tabpanel", name="Photos").is_visible()
    page.keyboard.press("End")
    assert page.get_by_role("tabpanel", name="About").is_visible()
    page.keyboard.press("Home")
    while page.evaluate("document.activeElement.role") != "combobox":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "class=tundra" in page.url


def test_coordinates_answer_without_webgl(visitor):
    page = visitor.page(script=NO_WEBGL)
    page.goto(visitor.url)
    page.get_by_text("it needs WebGL").wait_for()
    page.get_by_label("Longitude").fill("20")
    page.get_by_label("Latitude").fill("20")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector(".bars li")
    assert ranking(page.locator("#place .bars"))[0][0] == "desert"
    visitor.errors.clear()  # the page tells the console why


def test_names_are_text_and_never_html(visitor):
    info = httpx.get(f"{visitor.url}/api/info").json()
    info |= {"classes": [HOSTILE, "tame"], "name": HOSTILE, "card": f"# {HOSTILE}\n\n- {HOSTILE}"}
    place = {"lon": 1, "lat": 2, "colour": "#102030", "uncertainty": 0.5, "nearest": None}
    legend = {"title": HOSTILE, "low": 0, "high": 1, "unit": HOSTILE, "colours": ["#fff", "#000"]}
    routes = {
        "**/api/info": info,
        "**/api/legend/**": legend,
        "**/api/tiles/**": lambda route: route.fulfill(status=404),
        "**/api/place*": place | {"classes": [{"name": HOSTILE, "probability": 0.7}]},
    }
    page = visitor.open("#place=1,2", routes=routes)
    page.wait_for_selector(".bars li")
    assert page.locator(".bars .name").all_text_contents() == [HOSTILE]
    page.get_by_role("combobox").click()
    assert page.get_by_role("option").all_text_contents() == [HOSTILE, "tame"]
    page.get_by_role("tab", name="About").click()
    assert page.locator(".model-card h3").text_content() == HOSTILE
    tile = visitor.asked("/api/tiles/class/")[0]
    assert parse_qs(urlsplit(tile).query)["class"] == [HOSTILE]
    assert "<" not in unquote(urlsplit(tile).path)
    assert page.locator("main img, #live img").count() == 0
    assert page.evaluate("window.hacked") is None
    visitor.errors.clear()  # refused tiles


def test_dark_by_the_system_and_by_choice(visitor):
    background = "getComputedStyle(document.body).backgroundColor"
    page = visitor.open(color_scheme="dark")
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    assert (dark, light) == ("rgb(20, 26, 34)", "rgb(255, 255, 255)")
    theme = page.locator("#theme")
    theme.click()
    theme.click()
    assert theme.text_content().strip() == "Dark"
    assert page.evaluate(background) == dark
    page.reload(wait_until="domcontentloaded")
    assert page.evaluate(background) == dark


def test_a_phone_shows_a_sheet_and_never_scrolls_sideways(visitor):
    page = visitor.open(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    panel = page.locator("#panel")
    half = panel.bounding_box()
    assert half["x"] == 0
    assert half["width"] == 360
    page.touchscreen.tap(150, 200)
    page.wait_for_selector(".bars li")
    assert page.locator(".place-title").bounding_box()["y"] < 740
    page.locator("#handle").click()
    until(page, "document.querySelector('#panel').offsetHeight > 640")
    for name in ("Photos", "Report", "About", "Explore"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        inner = page.get_by_role("tabpanel", name=name)
        assert inner.evaluate("element => element.scrollWidth <= element.clientWidth")
    page.locator("#handle").click()
    until(page, "document.querySelector('#panel').offsetHeight < 100")


def test_what_the_server_refuses_is_one_calm_line(visitor):
    refusal = "a place is too hard; try another one"
    routes = {"**/api/place*": lambda route: route.fulfill(status=422, json={"detail": refusal})}
    page = visitor.open("#place=1,2", routes=routes)
    line = page.get_by_role("alert").locator("span")
    line.wait_for()
    assert line.text_content() == refusal
    page.unroute("**/api/place*")
    page.get_by_label("Longitude").fill("20")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector(".bars li")
    assert line.count() == 0


def test_a_server_that_is_gone_is_said(visitor):
    page = visitor.open(ready=False, routes={"**/api/info": lambda route: route.abort()})
    page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
    page.unroute("**/api/info")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("html[data-ready=map]")
