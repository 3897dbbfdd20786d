import httpx
from app_model import photo_bytes
from browsing import HOSTILE, as_shown, browser, ranking, until, visitor

__all__ = ["browser", "visitor"]  # fixtures

DESERT = {"name": "desert.jpg", "mimeType": "image/jpeg"}
FOREST = {"name": "forest.jpg", "mimeType": "image/jpeg", "buffer": photo_bytes(6)}
ROME = (12.5, 41.9)
ANSWER = {
    "name": "x", "lon": None, "lat": None, "placed_by": None, "fused": None, "where": None,
    "image": [{"name": HOSTILE, "probability": 0.9}], "notes": [HOSTILE],
}  # fmt: skip

DROP = """() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["x"], "x.jpg"));
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  if (document.body.dispatchEvent(event)) throw new Error("the browser leaves the page");
}"""


def asked(visitor, photo, **form):
    files = {"photo": (photo["name"], photo["buffer"], photo["mimeType"])}
    return httpx.post(f"{visitor.url}/api/photos", files=files, data=form, timeout=60).json()


def rankings(card):
    return [ranking(card.locator(".versus .bars").nth(n)) for n in range(2)]


def test_a_photo_with_a_place_gets_two_rankings_and_a_map(visitor):
    page = visitor.open("#tab=photos")
    photo = DESERT | {"buffer": photo_bytes(4, lonlat=ROME)}
    page.locator("#files").set_input_files(photo)
    card = page.locator(".card")
    card.locator(".versus").wait_for()
    told = asked(visitor, photo)
    assert rankings(card) == [as_shown(told["image"][:5]), as_shown(told["fused"][:5])]
    assert "41.90° N, 12.50° E · place from EXIF" in card.text_content()
    assert card.locator(".photo-head img").evaluate("image => image.naturalWidth") > 0
    small = card.get_by_role("img", name="Most likely taken at")
    assert "41.90° N, 12.50° E" in small.get_attribute("aria-label")
    assert small.locator("image").get_attribute("href") == told["where"]["overlay"]
    assert small.locator(".truth").count() == 1
    assert len(small.locator(".land").get_attribute("d")) > 10_000
    away = card.locator(".where .value").all_text_contents()
    assert all(text.endswith("km off") for text in away)


def test_where_a_photo_was_taken_lies_over_the_large_map(visitor):
    page = visitor.open("#tab=photos")
    page.locator("#files").set_input_files(FOREST)
    page.get_by_role("button", name="Show on the large map").click()
    note = page.locator("#overlay-note")
    note.get_by_text("Where forest.jpg may have been taken").wait_for()
    assert page.locator("#legend").is_hidden()
    note.get_by_role("button", name="Hide").click()
    assert note.is_hidden()
    assert page.locator("#legend").is_visible()
    button = page.get_by_role("button", name="Show on the large map")
    assert button.get_attribute("aria-pressed") == "false"


def test_a_photo_without_a_place_can_be_put_on_the_map(visitor):
    page = visitor.open("#tab=photos&view=20,20,3")
    page.locator("#files").set_input_files(FOREST)
    card = page.locator(".card")
    card.get_by_text("No place known").wait_for()
    assert card.locator(".versus .bars").count() == 1
    card.get_by_role("button", name="Place it on the map").click()
    page.get_by_text("Where was forest.jpg taken?").first.wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#banner").is_hidden()
    card.get_by_role("button", name="Place it on the map").click()
    page.keyboard.press("Enter")  # the map has the focus: its centre
    card.get_by_text("place given by hand").wait_for()
    lon, lat = 20, 20
    told = asked(visitor, FOREST, lon=lon, lat=lat)
    assert rankings(card) == [as_shown(told["image"][:5]), as_shown(told["fused"][:5])]
    assert "place=" not in page.url


def test_another_try_keeps_the_place_that_was_given(visitor):
    failed = []

    def fail(route):
        failed.append(route.request.post_data_buffer)
        route.fulfill(status=503, json={"detail": "busy"})

    page = visitor.open("#tab=photos&place=12.5,41.9")
    page.locator("#files").set_input_files(FOREST)
    card = page.locator(".card")
    card.get_by_text("No place known").wait_for()
    page.route("**/api/photos", fail)
    card.get_by_role("button", name="Use the chosen place").click()
    card.get_by_text("busy").wait_for()
    page.unroute("**/api/photos")
    card.get_by_role("button", name="Try again").click()
    card.get_by_text("41.90° N, 12.50° E · place given by hand").wait_for()
    assert len(failed) == 1


def test_bad_and_large_files_are_refused_each_on_its_card(visitor):
    page = visitor.open("#tab=photos")
    files = [
        {"name": "no.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"},
        {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": bytes(2**20 + 1)},
        FOREST,
    ]
    page.locator("#files").set_input_files(files)
    page.locator(".versus").wait_for()
    card = page.locator(".card")
    assert card.locator("h3").all_text_contents() == ["forest.jpg", "large.jpg", "no.jpg"]
    assert "at most 1.0 MB are taken" in card.nth(1).text_content()
    told = asked(visitor, files[0])["detail"]
    card.nth(2).get_by_text(told).wait_for()
    sent = visitor.asked("/api/photos")
    assert len(sent) == 2
    card.nth(1).get_by_role("button", name="Remove large.jpg").click()
    assert card.count() == 2


def test_a_hostile_file_name_stays_text(visitor):
    page = visitor.open("#tab=photos", routes={"**/api/photos": ANSWER})
    page.locator("#files").set_input_files(FOREST | {"name": HOSTILE})
    card = page.locator(".card")
    card.locator(".versus").wait_for()
    assert card.locator("h3").text_content() == HOSTILE
    assert ranking(card.locator(".bars"))[0][0] == HOSTILE
    card.get_by_role("button", name="Place it on the map").click()
    assert HOSTILE in page.locator("#banner").text_content()
    assert page.locator(".card img").count() == 1  # the thumbnail
    assert page.evaluate("window.hacked") is None


def test_dropped_photos_are_sent_two_at_a_time_and_can_be_cancelled(visitor):
    held = []
    page = visitor.open(routes={"**/api/photos": lambda route: held.append(route)})
    data = page.evaluate_handle(
        """() => {
          const data = new DataTransfer();
          for (const name of "abcde") data.items.add(new File(["x"], `${name}.jpg`));
          return data;
        }"""
    )
    page.dispatch_event("#map", "drop", {"dataTransfer": data})
    page.get_by_text("0 of 5 photos").wait_for()
    assert page.get_by_role("tabpanel", name="Photos").is_visible()
    until(page, "document.querySelectorAll('.card').length === 5")
    while len(held) < 2:
        page.wait_for_timeout(20)
    held[0].fulfill(json=ANSWER)
    page.get_by_text("1 of 5 photos").wait_for()
    while len(held) < 3:
        page.wait_for_timeout(20)
    assert len(held) == 3
    page.get_by_role("button", name="Cancel").click()
    until(page, "document.body.innerText.match(/Cancelled/g)?.length === 4")
    assert page.locator(".progress").is_hidden()
    assert len(held) == 3


def test_a_model_of_places_says_that_it_takes_no_photos(visitor):
    info = httpx.get(f"{visitor.url}/api/info").json() | {"has_images": False}
    page = visitor.open("#tab=photos", routes={"**/api/info": info})
    page.get_by_text("This model looks at places alone").wait_for()
    assert page.locator("#files").count() == 0
    page.get_by_role("tab", name="About").click()
    page.evaluate(DROP)
    page.get_by_text("This model looks at places alone").wait_for()
    assert page.locator(".card").count() == 0
