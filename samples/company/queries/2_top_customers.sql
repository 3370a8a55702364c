-- A join inside one database.
SELECT c.name, c.plan, sum(o.amount) AS revenue
FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id
WHERE o.status <> 'refunded'
GROUP BY c.name, c.plan ORDER BY revenue DESC
