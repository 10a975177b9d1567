"""Links to what a fence draws are alive, and others are not."""

from types import SimpleNamespace

from llmnotes._site import anchors


def test_every_id_is_found_and_nothing_else():
    html = (
        '<figure class="x" id="a-b"><p data-id="no">id="text"</p>'
        '<svg id="c"></svg></figure>'
    )
    assert anchors.ids(html) == {"a-b", "c"}


def test_ids_of_the_finished_page_join_those_that_were_seen():
    page = SimpleNamespace(present_anchor_ids={"seen"})
    html = '<table id="made"></table>'
    assert anchors.on_page_content(html, page, None, None) == html
    assert page.present_anchor_ids == {"seen", "made"}
    page.present_anchor_ids = None  # a page that was not rendered
    anchors.on_page_content(html, page, None, None)
    assert page.present_anchor_ids == {"made"}
