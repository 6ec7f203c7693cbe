-- Who read what of the lake: a row for each table that Lake Formation lent to a session, for each file that was read
-- around it, and for each item, message or record of the stream that neither a function nor the pipeline read, with
-- copies of a whole table. Both parameters are days, as '2026/11/29'.
WITH events AS (
    SELECT
        eventtime,
        eventsource,
        eventname,
        requestparameters,
        responseelements,
        additionaleventdata,
        nullif(regexp_extract(useridentity.arn, '[^/]+$'), '') AS session_name,
        coalesce(useridentity.sessioncontext.sessionissuer.username, useridentity.arn, useridentity.type) AS who_as,
        nullif(useridentity.sessioncontext.sourceidentity, '') AS source_identity
    FROM trail
    WHERE day BETWEEN ? AND ? AND errorcode IS NULL
),

-- The workgroup of each query of Athena.
queries AS (
    SELECT
        json_extract_scalar(responseelements, '$.queryExecutionId') AS query_id,
        max(json_extract_scalar(requestparameters, '$.workGroup')) AS workgroup
    FROM events
    WHERE eventsource = 'athena.amazonaws.com' AND eventname = 'StartQueryExecution'
    GROUP BY 1
),

-- What was lent, for which query. The files are then read under the name that it was lent as.
lent AS (
    SELECT
        eventtime,
        coalesce(source_identity, session_name) AS person,
        who_as,
        json_extract_scalar(additionaleventdata, '$.lakeFormationRoleSessionName') AS lent_as,
        replace(split_part(json_extract_scalar(requestparameters, '$.tableArn'), ':table/', 2), '/', '.') AS what,
        nullif(
            regexp_extract(
                json_extract_scalar(requestparameters, '$.auditContext.additionalAuditContext'),
                'queryId: *([0-9a-f-]+)',
                1
            ),
            ''
        ) AS query_id
    FROM events
    WHERE eventsource = 'lakeformation.amazonaws.com' AND eventname = 'GetDataAccess'
),

files AS (
    SELECT
        eventtime,
        session_name,
        coalesce(source_identity, session_name) AS person,
        who_as,
        -- of a copy its source, which is a bucket and a key
        coalesce(
            regexp_replace(url_decode(json_extract_scalar(requestparameters, '$["x-amz-copy-source"]')), '^/', ''),
            json_extract_scalar(requestparameters, '$.bucketName')
            || '/' || json_extract_scalar(requestparameters, '$.key')
        ) AS place,
        coalesce(try_cast(json_extract_scalar(additionaleventdata, '$.bytesTransferredOut') AS double), 0) AS bytes
    FROM events
    WHERE eventsource = 's3.amazonaws.com'
        AND eventname IN ('GetObject', 'SelectObjectContent', 'CopyObject', 'UploadPartCopy')
),

folders AS (
    SELECT
        eventtime,
        session_name,
        person,
        who_as,
        CASE
            WHEN split_part(place, '/', 1) LIKE 'gavel-%-results-%' THEN 'results/' || split_part(place, '/', 2)
            ELSE split_part(place, '/', 2) || '/' || split_part(place, '/', 3)
        END AS folder,
        bytes
    FROM files
),

files_lent AS (
    SELECT session_name, count(*) AS files, sum(bytes) AS bytes
    FROM files
    GROUP BY session_name
)

SELECT
    lent.eventtime AS at,
    lent.person,
    lent.who_as,
    'query' AS way,
    lent.what,
    '' AS detail,
    coalesce(queries.workgroup, '') AS workgroup,
    coalesce(lent.query_id, '') AS query_id,
    coalesce(files_lent.files, 0) AS files,
    cast(coalesce(files_lent.bytes, 0) AS bigint) AS bytes
FROM lent
LEFT JOIN queries ON lent.query_id = queries.query_id
LEFT JOIN files_lent ON lent.lent_as = files_lent.session_name

UNION ALL

SELECT
    min(folders.eventtime),
    folders.person,
    folders.who_as,
    'file',
    folders.folder,
    '',
    '',
    '',
    count(*),
    cast(sum(folders.bytes) AS bigint)
FROM folders
LEFT JOIN lent ON folders.session_name = lent.lent_as
WHERE lent.lent_as IS NULL
GROUP BY
    substr(folders.eventtime, 1, 10),
    folders.person,
    folders.who_as,
    folders.folder

UNION ALL

SELECT
    eventtime,
    coalesce(source_identity, session_name),
    who_as,
    'item',
    coalesce(
        json_extract_scalar(requestparameters, '$.tableName'),
        nullif(regexp_extract(json_extract_scalar(requestparameters, '$.queueUrl'), '[^/]+$'), ''),
        'tables of DynamoDB'
    ),
    eventname || ' ' || coalesce(requestparameters, ''),
    '',
    '',
    0,
    0
FROM events
WHERE eventsource IN ('dynamodb.amazonaws.com', 'sqs.amazonaws.com')
    AND (
        eventname IN (
            'GetItem', 'BatchGetItem', 'TransactGetItems', 'Query', 'Scan', 'ExecuteStatement', 'BatchExecuteStatement',
            'ExecuteTransaction', 'GetRecords', 'ReceiveMessage'
        )
        OR (
            eventname IN (
                'ExportTableToPointInTime', 'RestoreTableToPointInTime', 'RestoreTableFromBackup', 'CreateBackup'
            )
            AND who_as NOT LIKE 'gavel-%-runs'
        )
    )
ORDER BY 1, 2, 5
