"""The report: panels, each one file with its subtitle, query, chart and headline, and what answers and shows them.

`render` makes the page that the house's management reads first, one self-contained HTML file, from the warehouse.
Amounts of different currencies are never added up: each currency has a section of its own.
"""

from reporting.document import written
from reporting.page import ReportPage, figures, render
from reporting.source import WarehouseNotBuilt, open_published

__all__ = ["ReportPage", "WarehouseNotBuilt", "figures", "open_published", "render", "written"]
