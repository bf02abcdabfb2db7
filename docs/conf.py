# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The documentation site: `make docs`, or rosdoc2. Reference pages are generated from the code."""

from pathlib import Path
import sys

HERE = Path(__file__).parent
# rosdoc2 installs nothing: the package and reference.py are found by their folders.
sys.path[:0] = [str(HERE.parent), str(HERE)]

from proxy_snn_control import __version__  # noqa: E402
from reference import write_reference  # noqa: E402

project = 'proxy_snn_control'
author = 'proxy_snn_control developers'
project_copyright = '2026 proxy_snn_control developers, Apache-2.0'
version = release = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build', 'results/curves/*-*']
html_theme = 'furo'
html_title = f'proxy_snn_\u200bcontrol {version}'  # may break there: the sidebar is narrow
myst_heading_anchors = 3
myst_enable_extensions = ['colon_fence']
# Links to files outside of this folder, such as config/: test/test_docs.py checks that all exist.
suppress_warnings = ['myst.xref_missing']
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
# Not installed with the docs alone.
autodoc_mock_imports = []
nitpicky = False

write_reference(HERE / 'reference')
