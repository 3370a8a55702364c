"""Tables with every type a column can have, and the values that tend to go wrong."""

SEED = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN short AS varchar(10) CHECK (length(value) > 0);
CREATE DOMAIN price AS numeric(8, 2);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE everything (
  id int8 PRIMARY KEY, small int2, medium int4, flag bool, real4 float4, real8 float8,
  exact numeric(10, 2), loose numeric, wide numeric(50, 4), whole numeric(20), cost price,
  title text, code varchar(20), padded char(5), label short, feeling mood,
  born date, at_time time, local_at timestamp, instant timestamptz, key uuid,
  doc json, docb jsonb, numbers int4[], words text[], duo pair, span int4range,
  raw bytea, every interval, place inet, "odd ""name"": %x" text
);
INSERT INTO everything VALUES
 (1, 1, 100, true, 0.1, 0.1, 10.10, 0.1, 1.5, 12345678901234567890, 9.99, 'alpha', 'A1', 'ab', 'x', 'sad',
  '2024-01-01', '10:00', '2024-01-01 10:00:00.123456', '2024-01-01 10:00:00+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '{"a": 1}', '{"a": 1}', '{1,2}', '{a,NULL}', '(1,x)', '[1,5)', '\x00ff', '1 day', '10.0.0.1', 'odd'),
 (2, -5, -100, false, 1e30, 'NaN', -0.01, 'NaN', 2, -1, 0, 'Beta', 'a1', 'ab   ', 'X', 'happy',
  '1969-12-31', '23:59:59.999999', '1969-12-31 23:59:59', '1969-12-31 23:59:59Z',
  '00000000-0000-0000-0000-000000000000',
  '[]', '[]', '{}', '{}', NULL, 'empty', '\x', '-2 hours', '::1', ''),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, 32767, 2147483647, true, 'Infinity', 'Infinity', 99999999.99, 0.1000000000000000055511151231257827, 3, 0, 1.1,
  'ALPHA', 'Z', 'AB', 'é', 'ok', '9999-12-31', '00:00', '9999-12-31 23:59:59', '2024-06-30 22:00:00Z',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', NULL, '{"it''s"}',
  '(,)', '[2,)', '\x61', '0', '10.0.0.0/8', '%'),
 (5, 0, 0, false, -0.0, -0.0, 0.30, 0.3, 3.3, 1, 0.3, 'it''s 100% "q" \ :x', '', '', '100%', 'ok',
  '2000-02-29', '12:30', '2000-02-29 00:00:00', '2000-02-29 00:00:00Z', NULL, '"é"', '{"b": [1, null]}', '{NULL}', '{}',
  NULL, NULL, NULL, NULL, NULL, NULL),
 (6, 6, 6, true, 3.5, 3.5, 3.50, 1e300, 3.5, 2, 3.5, 'émile', 'É', 'e', 'e', 'sad',
  '2024-01-02', '10:00:01', '2024-01-01 10:00:00.123457', '2024-01-01 08:00:00.000001Z',
  NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL);
CREATE TABLE odd (id int PRIMARY KEY, d date, w timestamp, z timestamptz, t time, n numeric(6,2), loose numeric);
INSERT INTO odd VALUES (1, 'infinity', 'infinity', '-infinity', '24:00', 'NaN', '1e400'),
 (2, '0001-01-01 BC', '10000-01-01', '10000-01-01 00:00+00', '24:00', 'NaN', '1e-400'),
 (3, '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '23:59:59.999999', 1, 1);
CREATE TABLE cased ("Name" text, name text);
CREATE TABLE tiny (id int PRIMARY KEY, team text, loose numeric);
INSERT INTO tiny VALUES (1, 'a', 1.5), (2, 'b', '1e-400'), (3, 'b', '-1e-324'), (4, 'b', '1e-323');
CREATE TABLE huge (id int PRIMARY KEY, team text, loose numeric);
INSERT INTO huge VALUES (1, 'a', 1.5), (2, 'b', ('1e' || 400)::numeric), (3, 'a', NULL);
CREATE TABLE dates (id int PRIMARY KEY, team text, born date);
INSERT INTO dates VALUES (1, 'a', '2024-01-01'), (2, 'b', 'infinity'), (3, 'b', '0044-03-15 BC');
CREATE SEQUENCE counter;
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id int, total numeric(10, 2));
INSERT INTO sales.orders SELECT g, g * 1.25 FROM generate_series(1, 25000) g;
CREATE VIEW happy AS SELECT id, title, exact * 2 AS doubled FROM everything WHERE feeling = 'happy';
CREATE TABLE "Mixed" ("Case" int);
CREATE TABLE parts (id int, kind text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
INSERT INTO parts VALUES (1, 'a');
CREATE ROLE weak LOGIN PASSWORD 'weakpw';
CREATE TABLE closed_one (id int);
GRANT SELECT ON happy TO weak;
"""
