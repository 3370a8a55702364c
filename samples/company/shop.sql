CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, region TEXT, plan TEXT, contact TEXT);
INSERT INTO customers VALUES
  (1, 'Aster Labs', 'north', 'gold', 'ops@aster.example'),
  (2, 'Birch & Co', 'north', 'silver', 'it@birch.example'),
  (3, 'Cedar Bank', 'south', 'gold', 'oncall@cedar.example'),
  (4, 'Dune Media', 'south', 'bronze', 'hello@dune.example'),
  (5, 'Elm Health', 'west', 'gold', 'sre@elm.example');
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, amount REAL, day DATE, status TEXT);
INSERT INTO orders VALUES
  (100, 1, 1200.0, '2026-02-26', 'paid'), (101, 2, 300.0, '2026-02-26', 'paid'),
  (102, 3, 2500.0, '2026-02-27', 'paid'), (103, 4, 90.0, '2026-02-27', 'refunded'),
  (104, 5, 1800.0, '2026-02-28', 'paid'), (105, 1, 1150.0, '2026-02-28', 'paid'),
  (106, 3, 2400.0, '2026-03-01', 'open'), (107, 2, 310.0, '2026-03-01', 'paid'),
  (108, 4, 95.0, '2026-03-02', 'refunded'), (109, 5, 60.0, '2026-03-02', 'paid'),
  (110, 1, 45.0, '2026-03-02', 'open');
