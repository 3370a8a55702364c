-- Files: a CSV joined with a JSON document.
SELECT t.team, a.agent, count(*) AS tickets, count(*) FILTER (WHERE t.severity = 'high') AS severe
FROM desk.tickets t JOIN desk.agents a USING (team)
GROUP BY ALL ORDER BY tickets DESC, t.team
