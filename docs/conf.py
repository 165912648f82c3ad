"""How Sphinx builds these pages: `./run docs`."""

from configparser import ConfigParser
from pathlib import Path

_metadata = ConfigParser()
_metadata.read(Path(__file__).parents[1] / "setup.cfg")

project = "Scrip"
author = "the makers of Scrip"
release = version = _metadata["metadata"]["version"]
html_title = f"{project} {release}"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
