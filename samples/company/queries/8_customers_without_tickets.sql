-- What is missing: an anti join.
SELECT name FROM shop.customers c
WHERE NOT EXISTS (SELECT 1 FROM desk.tickets t WHERE t.customer_id = c.id AND t.severity = 'high')
ORDER BY name
