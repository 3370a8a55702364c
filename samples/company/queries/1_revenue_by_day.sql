-- One database: runs inside SQLite, only the answer's rows leave it.
SELECT day, sum(amount) AS revenue, count(*) AS orders
FROM shop.orders GROUP BY day ORDER BY day
