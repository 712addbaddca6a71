"""Sphinx: the pages by hand, and one page for each operator from the registry (operator_pages.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import operator_pages

import shrinkops

project = "shrinkops"
author = "the shrinkops developers"
copyright = f"2026, {author}"
version = release = shrinkops.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
exclude_patterns = ["_build", "_templates"]
default_role = "literal"  # numpydoc's `x` is an argument
nitpicky = True
nitpick_ignore = [("py:exc", "TypeError"), ("py:exc", "ValueError")]
add_module_names = True
toc_object_entries = False
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "alabaster"
html_title = f"shrinkops {version}"
html_static_path = ["_static"]
html_css_files = ["shrinkops.css"]
html_show_sourcelink = False
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_theme_options = {
    "description": "Shrinkage operators, exact and fast, on any array library.",
    "page_width": "1200px",
    "body_max_width": "auto",
    "sidebar_width": "240px",
    "fixed_sidebar": True,
    "font_family": "system-ui, sans-serif",
    "head_font_family": "system-ui, sans-serif",
    "sidebar_collapse": False,
}


def setup(app):
    """Write the pages of the operators before Sphinx looks for pages."""
    operator_pages.setup(app)
