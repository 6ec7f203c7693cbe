{# Every change of a key that named the party in any of its changes: also how it came not to. #}
SELECT h.* FROM {{ history(entity) }} AS h
WHERE ({{ by_key }}) IN (SELECT ({{ by_key }}) FROM {{ history(entity) }} AS n WHERE {{ referring('= $party') }})
ORDER BY {{ in_order }}
