-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
{{ published_watermarks({
    'bids': source('catalog', 'bids'),
    'countries': source('catalog', 'countries'),
    'customers': source('catalog', 'customers'),
    'estimates': source('catalog', 'estimates'),
    'invoice_lines': source('catalog', 'invoice_lines'),
    'invoices': source('catalog', 'invoices'),
    'lots': source('catalog', 'lots'),
    'order_lines': source('catalog', 'order_lines'),
    'orders': source('catalog', 'orders'),
    'payments': source('catalog', 'payments'),
    'shipments': source('catalog', 'shipments'),
    'shipping_addresses': source('catalog', 'shipping_addresses'),
    'virtual_requests': source('catalog', 'virtual_requests')
}) }}
