-- A window over a CTE.
WITH daily AS (SELECT day, sum(amount) AS revenue FROM shop.orders GROUP BY day)
SELECT day, revenue, sum(revenue) OVER (ORDER BY day) AS so_far FROM daily ORDER BY day
