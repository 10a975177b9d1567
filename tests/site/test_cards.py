"""A number says where it comes from, a term what it means, in a card."""

import pytest

from tests.site.browsing import PHONE

CARD = ".card:popover-open"


@pytest.fixture
def gallery(page, base):
    page.goto(f"{base}gallery/")
    page.wait_for_function("document.querySelector('abbr').tabIndex === 0")
    return page


def test_a_number_opens_its_card_and_escape_leads_back(gallery):
    number = gallery.locator("article a.num").first
    said = number.evaluate("e => ({...e.dataset, shown: e.textContent})")
    number.click()
    words = gallery.locator(CARD).inner_text()
    for word in ("shown", "title", "rows", "run"):
        assert said[word] in words
    assert gallery.evaluate("document.activeElement.textContent") == (
        "Its table"
    )
    gallery.keyboard.press("Escape")
    assert gallery.locator(CARD).count() == 0
    assert gallery.evaluate("document.activeElement.className") == "num"


def test_the_card_leads_to_the_table(gallery):
    number = gallery.locator("article a.num").first
    table = number.evaluate("e => e.href")
    number.press("Enter")
    assert gallery.locator(f"{CARD} a").evaluate("e => e.href") == table


def test_the_card_stays_inside_a_phone(gallery):
    gallery.set_viewport_size(PHONE)
    for number in gallery.locator("article a.num").all():
        number.click()
        box = gallery.locator(CARD).bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= 375
        gallery.keyboard.press("Escape")


def test_a_term_explains_itself_to_the_keyboard(gallery):
    term = gallery.locator("article abbr").first
    meaning = term.get_attribute("title")
    term.press("Enter")
    assert meaning in gallery.locator(CARD).inner_text()
    gallery.keyboard.press("Escape")
    assert gallery.evaluate("document.activeElement.tagName") == "ABBR"
