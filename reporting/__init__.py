"""The report page: one self-contained HTML file that the house's management reads first.

`render` makes it from the marts of a warehouse file. Amounts of different currencies are never added up: each currency
has a section of its own, and in it themes with panels, each panel from one query that the page shows.
"""

from reporting.page import ReportPage, WarehouseNotBuilt, render

__all__ = ["ReportPage", "WarehouseNotBuilt", "render"]
