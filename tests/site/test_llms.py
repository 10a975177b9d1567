"""Programs read the same book: code, numbers and tables as plain text."""


def test_plain_pages_hold_code_numbers_and_tables(with_results):
    config = with_results.root / "mkdocs.yml"
    config.write_text(config.read_text() + "extra_templates: [all.txt]\n")
    with_results.write("src/package/module.py", "ONE = 1\n")
    with_results.write(
        "docs/all.txt",
        "{% for file in pages %}{{ file.page.meta.plain }}{% endfor %}",
    )
    with_results.html(
        "page",
        '# T\n\n```python title="x"\n--8<-- "package.module:ONE"\n```\n\n'
        "It is {{ basics/first:speed[n=512, method=flash].seconds | si }}, "
        "written `{{ part/slug:name.column }}`.\n\n"
        '=== "Tab"\n\n    ```results\n    table: basics/first:speed\n'
        "    columns: n\n    ```\n",
    )
    plain = (with_results.root / "site/all.txt").read_text()
    assert '```python title="x"\nONE = 1\n```\n\n' in plain
    assert "It is 2.56 ms, written `{{ part/slug:name.column }}`." in plain
    assert "| length N (tokens) | method | time (s) |" in plain
    assert "| 512 | flash | 0.00256 |" in plain
    assert "commit abcdef0123" in plain
