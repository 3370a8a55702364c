-- One statement a line, asked by ann (teams [a]) in two worlds that differ only in rows hidden from her.
-- shop.people (SQLite), desk.tickets (CSV), desk.notes (JSON): rows of team b are hidden; people.salary is masked to
-- NULL, people.email to a hash, people.badge to its last four, tickets.secret is denied, people.born to its year.
SELECT * FROM shop.people
SELECT count(*) FROM shop.people
SELECT count(*), sum(id), min(name), max(name) FROM people
SELECT * FROM shop.people WHERE team = 'b'
SELECT * FROM shop.people WHERE team <> 'a' OR team IS NULL
SELECT * FROM shop.people WHERE true OR team = 'b'
SELECT * FROM shop.people WHERE locked = true
SELECT id FROM shop.people WHERE salary > 100
SELECT id FROM shop.people WHERE salary IS NOT NULL
SELECT id FROM shop.people ORDER BY salary DESC, id LIMIT 1
SELECT max(salary), avg(salary), count(salary) FROM shop.people
SELECT id FROM shop.people WHERE email = 'bob@example.com'
SELECT id FROM shop.people WHERE email = sha256('bob@example.com')
SELECT email FROM shop.people ORDER BY email
SELECT id FROM shop.people WHERE email LIKE 'bob%'
SELECT badge FROM shop.people WHERE badge LIKE '1234%'
SELECT born FROM shop.people WHERE born > DATE '1980-06-01'
SELECT secret FROM desk.tickets
SELECT t.secret FROM desk.tickets t
SELECT * FROM desk.tickets WHERE secret IS NOT NULL
SELECT COLUMNS('.*') FROM desk.tickets
SELECT COLUMNS(c -> c LIKE 'sec%') FROM desk.tickets
SELECT * EXCLUDE (id) FROM desk.tickets
SELECT * REPLACE (1 AS id) FROM desk.tickets
SELECT t FROM desk.tickets t
SELECT to_json(t) FROM desk.tickets t
SELECT struct_pack(a := t) FROM desk.tickets t
SELECT row_to_json(p) FROM shop.people p
SELECT p.* FROM shop.people p
SELECT (p).salary FROM shop.people p
SELECT p['salary'] FROM shop.people p
SELECT unnest(p) FROM shop.people p
SELECT shop.people.salary FROM shop.people
SELECT #4 FROM shop.people
SELECT rowid FROM shop.people
SELECT _rowid_, oid FROM shop.people
SELECT * FROM shop.people WHERE rowid = 2
SELECT _raw FROM desk.tickets
SELECT filename FROM desk.tickets
SELECT file_row_number FROM desk.tickets
SELECT 1 / (id - 2) FROM shop.people
SELECT id FROM shop.people WHERE 1 / (id - 2) > 0
SELECT id FROM shop.people WHERE CAST(name AS INTEGER) > 0
SELECT id FROM shop.people WHERE CAST(note AS INTEGER) > 0
SELECT CAST(title AS INTEGER) FROM desk.tickets
SELECT id FROM desk.tickets WHERE CAST(title AS DATE) > DATE '2020-01-01'
SELECT id FROM desk.tickets WHERE id::VARCHAR::TINYINT > 0
SELECT id FROM desk.tickets WHERE error(title) IS NULL
SELECT CASE WHEN team = 'b' THEN error('seen') ELSE 'x' END FROM shop.people
SELECT id FROM shop.people WHERE CASE WHEN team = 'b' THEN error('seen') ELSE 'x' END = 'x'
SELECT id FROM shop.people WHERE json_extract(note, '$.a') IS NULL
SELECT json(note) FROM shop.people
SELECT id FROM shop.people WHERE factorial(id + 30) > 0
SELECT id FROM shop.people WHERE strptime(name, '%Y') IS NOT NULL
SELECT id FROM shop.people WHERE list_extract([1], id) = 1
SELECT id FROM shop.people WHERE sqrt(2.5 - id) > 0
SELECT id FROM shop.people WHERE ln(3 - id) > 0
SELECT id FROM shop.people WHERE chr(id - 3) = ''
SELECT id FROM shop.people WHERE (id * 4611686018427387904) > 0
SELECT sum(id * 4611686018427387904) FROM shop.people
SELECT id FROM shop.people WHERE abs(id - 9223372036854775807 - 3) > 0
SELECT array_slice([1, 2, 3], 1, id) FROM shop.people
SELECT a.id, b.id FROM shop.people a JOIN shop.people b ON a.team <> b.team
SELECT a.id, b.title FROM shop.people a LEFT JOIN desk.tickets b ON a.id = b.id
SELECT a.id, b.title FROM shop.people a RIGHT JOIN desk.tickets b ON a.id = b.id
SELECT a.id, b.title FROM shop.people a FULL JOIN desk.tickets b ON a.id = b.id + 1
SELECT a.id FROM shop.people a ANTI JOIN desk.tickets b ON a.id = b.id
SELECT a.id FROM shop.people a SEMI JOIN desk.tickets b ON a.id = b.id
SELECT * FROM shop.people NATURAL JOIN desk.tickets
SELECT * FROM shop.people POSITIONAL JOIN desk.tickets
SELECT * FROM shop.people a ASOF JOIN desk.tickets b ON a.id >= b.id
SELECT * FROM shop.people, desk.tickets
SELECT id FROM shop.people WHERE id IN (SELECT id FROM desk.tickets)
SELECT id FROM shop.people WHERE id NOT IN (SELECT id FROM desk.tickets)
SELECT id FROM shop.people p WHERE EXISTS (SELECT 1 FROM desk.tickets t WHERE t.id = p.id AND t.team = 'b')
SELECT (SELECT count(*) FROM shop.people)
SELECT (SELECT name FROM shop.people ORDER BY id DESC LIMIT 1)
SELECT (SELECT name FROM shop.people)
SELECT [x.name FOR x IN (SELECT array_agg(p) FROM shop.people p)]
SELECT ARRAY(SELECT name FROM shop.people ORDER BY 1)
SELECT list(name ORDER BY name) FROM shop.people
SELECT histogram(team) FROM shop.people
SELECT approx_count_distinct(name), quantile_cont(id, 0.9), entropy(name) FROM shop.people
SELECT stats(id) FROM shop.people
SELECT * FROM (SUMMARIZE shop.people)
SUMMARIZE shop.people
DESCRIBE shop.people
SHOW TABLES
SHOW ALL TABLES
EXPLAIN SELECT * FROM shop.people
EXPLAIN ANALYZE SELECT * FROM shop.people
PIVOT shop.people ON team USING count(*)
PIVOT shop.people ON team IN ('a', 'b') USING count(*)
SELECT * FROM shop.people PIVOT (count(*) FOR team IN ('a', 'b'))
SELECT * FROM (PIVOT shop.people ON team USING count(*))
UNPIVOT (SELECT id, name, note FROM shop.people) ON name, note INTO NAME k VALUE v
SELECT * FROM shop.people UNPIVOT (v FOR k IN (name, note))
SELECT team, count(*) FROM shop.people GROUP BY ALL ORDER BY ALL
SELECT team, count(*) FROM shop.people GROUP BY CUBE (team) ORDER BY 1
SELECT team, count(*) FROM shop.people GROUP BY GROUPING SETS ((team), ()) ORDER BY 1
SELECT DISTINCT team FROM shop.people
SELECT DISTINCT ON (team) team, name FROM shop.people ORDER BY team, id
SELECT id, row_number() OVER (ORDER BY id), lag(name) OVER (ORDER BY id), lead(name) OVER (ORDER BY id) FROM shop.people
SELECT id, count(*) OVER (), rank() OVER (ORDER BY salary) FROM shop.people
SELECT id FROM shop.people QUALIFY row_number() OVER (PARTITION BY team ORDER BY id) = 1
SELECT id FROM shop.people LIMIT 1
SELECT id FROM shop.people LIMIT 1 OFFSET 1
SELECT id FROM shop.people LIMIT (SELECT count(*) FROM desk.tickets)
SELECT id FROM shop.people ORDER BY id LIMIT 50%
SELECT count(*) FROM shop.people USING SAMPLE 100%
SELECT count(*) FROM shop.people TABLESAMPLE reservoir(10)
WITH shop AS (SELECT 1 AS people) SELECT * FROM shop
WITH people AS (SELECT * FROM people) SELECT * FROM people
WITH people AS (SELECT 7 AS id) SELECT * FROM people
WITH PEOPLE AS (SELECT 7 AS id) SELECT * FROM people
WITH x AS (SELECT * FROM shop.people) SELECT * FROM x a, x b WHERE a.id < b.id
WITH RECURSIVE r AS (SELECT id FROM shop.people UNION SELECT r.id FROM r JOIN shop.people p ON p.id = r.id) SELECT * FROM r ORDER BY 1
WITH RECURSIVE people AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM people WHERE id < 3) SELECT * FROM people
SELECT * FROM (VALUES ((SELECT count(*) FROM shop.people))) v
VALUES ((SELECT max(name) FROM shop.people))
SELECT unnest((SELECT list(name ORDER BY name) FROM shop.people))
SELECT * FROM range((SELECT count(*) FROM shop.people))
SELECT * FROM generate_series(1, (SELECT max(id) FROM shop.people))
SELECT * FROM unnest((SELECT list(id ORDER BY id) FROM shop.people))
SELECT * FROM shop.people p, LATERAL (SELECT count(*) AS n FROM desk.tickets t WHERE t.id <= p.id) z
SELECT * FROM shop.people UNION ALL BY NAME SELECT * FROM desk.tickets
SELECT id FROM shop.people EXCEPT SELECT id FROM desk.tickets
SELECT id FROM shop.people INTERSECT SELECT id FROM desk.tickets
SELECT id FROM shop.people UNION SELECT id FROM desk.tickets ORDER BY 1
FROM shop.people
FROM shop.people SELECT count(*)
TABLE shop.people
SELECT * FROM main.people
SELECT * FROM main.shop.people
SELECT * FROM memory.main.__omni_0
SELECT * FROM __omni_0
SELECT * FROM "__omni_0", shop.people
SELECT * FROM __omni_0_in, shop.people PIVOT (count(*) FOR team IN ('a'))
SELECT "__omni_0".id FROM shop.people
SELECT * FROM raw
SELECT * FROM permitted
SELECT * FROM sqlite_master
SELECT * FROM shop.sqlite_master
SELECT * FROM shop.sqlite_schema
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.columns
SELECT * FROM pg_catalog.pg_class
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_columns()
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_views()
SELECT * FROM pragma_table_info('__omni_0')
SELECT * FROM pragma_storage_info('__omni_0')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('__omni_0')
SELECT * FROM query_table(['__omni_0'])
SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT * FROM read_csv('tickets/tickets.csv')
SELECT * FROM read_csv_auto('../tickets/tickets.csv')
SELECT * FROM read_json('notes.json')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM glob('*')
SELECT * FROM 'tickets/tickets.csv'
SELECT * FROM "tickets.csv"
SELECT * FROM desk."tickets.csv"
SELECT * FROM desk."../shop.db"
SELECT * FROM desk."../../etc/passwd"
SELECT * FROM sniff_csv('tickets.csv')
SELECT * FROM parquet_metadata('x.parquet')
SELECT getenv('HOME')
SELECT current_setting('memory_limit')
SELECT current_user, session_user
SELECT current_database(), current_schema()
SELECT version()
SELECT getvariable('x')
SELECT nextval('s')
SELECT pg_sleep(1)
SELECT sleep_ms(1000)
SELECT write_log('x')
SELECT setseed(0.5)
SELECT load_extension('x')
SELECT readfile('/etc/passwd')
SELECT dblink('x', 'y')
SELECT pg_read_file('/etc/passwd')
SELECT lo_import('/etc/passwd')
SELECT version(), sqlite_version()
ATTACH 'shop.db' AS s
ATTACH 'shop.db' (TYPE sqlite)
DETACH memory
USE memory
COPY (SELECT * FROM shop.people) TO '/tmp/omni_out.csv'
COPY shop.people TO '/tmp/omni_out.parquet'
EXPORT DATABASE '/tmp/omni_out'
IMPORT DATABASE '/tmp/omni_out'
INSERT INTO shop.people (id) VALUES (9)
UPDATE shop.people SET team = 'a'
DELETE FROM shop.people
TRUNCATE shop.people
DROP TABLE shop.people
ALTER TABLE shop.people ADD COLUMN x INT
CREATE TABLE x AS SELECT * FROM shop.people
CREATE VIEW x AS SELECT * FROM shop.people
CREATE MACRO f() AS (SELECT count(*) FROM shop.people)
CREATE SECRET s (TYPE s3)
CREATE TEMP TABLE x AS SELECT 1
SET memory_limit = '10GB'
SET enable_external_access = true
RESET lock_configuration
PRAGMA database_list
PRAGMA table_info('people')
INSTALL httpfs
LOAD httpfs
CALL pragma_version()
PREPARE p AS SELECT * FROM shop.people
EXECUTE p
BEGIN
CHECKPOINT
VACUUM
ANALYZE
SELECT 1; SELECT * FROM shop.people
SELECT 1; DROP TABLE shop.people
SELECT * FROM shop.people -- ' WHERE 1 = 0
SELECT * FROM shop.people /* WHERE */ WHERE team = 'b'
SELECT * FROM shop.people WHERE name = '' OR 1 = 1 --'
SELECT * FROM shop.people WHERE name = $$x$$ OR true
SELECT * FROM shop.people FOR UPDATE
SELECT * INTO x FROM shop.people
WITH x AS (DELETE FROM shop.people RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO shop.people (id) VALUES (1) RETURNING *) SELECT * FROM x
SELECT * FROM shop.hidden
SELECT * FROM shop.nothing
SELECT * FROM hidden
SELECT * FROM nothing
SELECT count(*) FROM nowhere.people
SELECT * FROM shop.people, shop.hidden
SELECT * FROM shop.people WHERE id IN (SELECT id FROM shop.hidden)
SELECT hidden.id FROM shop.people
SELECT * FROM SHOP.PEOPLE WHERE TEAM = 'b'
SELECT * FROM "Shop"."People"
SELECT * FROM shop . people
SELECT * FROM (shop.people)
SELECT * FROM ((SELECT * FROM shop.people)) AS x (a, b)
SELECT salary FROM (SELECT id AS salary FROM shop.people) ORDER BY 1
SELECT p.salary FROM shop.people AS p (a, b, c, salary)
SELECT salary AS id FROM shop.people ORDER BY id
SELECT max(length(email)) FROM shop.people
SELECT count(DISTINCT email) FROM shop.people
SELECT email = lag(email) OVER (ORDER BY id) FROM shop.people
SELECT a.id FROM shop.people a JOIN shop.people b ON a.email = b.email AND a.id <> b.id
SELECT min(born), max(born) FROM shop.people
SELECT regexp_extract(badge, '(\d+)') FROM shop.people
SELECT count(*) FROM desk.notes
SELECT * FROM desk.notes
SELECT body ->> 'k' FROM desk.notes
SELECT id FROM desk.notes WHERE CAST(body AS INTEGER) = 1
SELECT json_each.value FROM desk.notes, json_each(body)
SELECT n.id, t.title, p.name FROM desk.notes n JOIN desk.tickets t USING (id) JOIN shop.people p USING (id)
SELECT string_agg(title, ',' ORDER BY id) FROM desk.tickets
SELECT id, title FROM desk.tickets WHERE title LIKE '%secret%'
SELECT id FROM desk.tickets WHERE team = 'b' OR id = 1
SELECT id FROM desk.tickets WHERE NOT (team = 'a')
SELECT id FROM desk.tickets WHERE coalesce(team, 'b') = 'b'
SELECT lpad(name, 2000000000, 'x') FROM shop.people
SELECT repeat(name, 1000000000) FROM shop.people
SELECT len(range(1000000000))
SELECT name FROM shop.people WHERE regexp_matches(name, '(a+)+$')
SELECT levenshtein(name, 'x') FROM shop.people
SELECT sum(CASE WHEN team = 'b' THEN 1 ELSE 0 END) AS n FROM shop.people
SELECT sum(id) AS s, count(*) AS n FROM shop.people WHERE team = 'b'
SELECT count(*) AS n FROM shop.people WHERE born < DATE '2000-01-01'
SELECT id, name FROM shop.people WHERE name > 'a' ORDER BY id LIMIT 5
SELECT team, count(*) AS n, min(id) AS low FROM shop.people GROUP BY team ORDER BY team
SELECT CASE WHEN count(*) > 2 THEN 'ALERT' ELSE 'OK' END AS status, count(*) AS actual_value FROM shop.people
SELECT count(*) AS n FROM shop.plain
SELECT sum(score) AS s, max(word) AS w FROM shop.plain
SELECT id FROM shop.plain WHERE score > 2 ORDER BY id
SELECT id, word FROM shop.plain WHERE word = 'hidden'
SELECT team, count(*) AS n FROM shop.plain GROUP BY team
SELECT a.id AS x, b.id AS y FROM shop.plain a JOIN shop.plain b ON a.score < b.score ORDER BY a.id
SELECT count(*) AS n FROM shop.plain WHERE day = DATE '2026-01-02'
SELECT sum(bad) AS s FROM shop.plain
SELECT id FROM shop.plain WHERE bad > 1
SELECT id FROM shop.plain WHERE day > DATE '2020-01-01'
SELECT max(day) FROM shop.plain
SELECT total(score) FROM shop.plain
SELECT id FROM shop.plain WHERE word GLOB '*'
