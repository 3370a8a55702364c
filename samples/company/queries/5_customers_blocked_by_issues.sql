-- Three sources in one question; what each asker sees of them differs.
SELECT c.name AS customer, c.plan, t.subject, i.number AS issue, i.state, o.revenue
FROM shop.customers c
JOIN desk.tickets t ON t.customer_id = c.id
JOIN github.issues i ON i.number = t.issue_number
LEFT JOIN (SELECT customer_id, sum(amount) AS revenue FROM shop.orders GROUP BY customer_id) o ON o.customer_id = c.id
WHERE i.repository = 'PyGithub/PyGithub' AND i.state = 'open'
ORDER BY c.name, issue
