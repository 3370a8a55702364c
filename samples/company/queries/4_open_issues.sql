-- GitHub: repository and state are filtered by the API itself.
SELECT number, title, user_login, created_at::DATE AS opened
FROM github.issues WHERE repository = 'PyGithub/PyGithub' AND state = 'open'
ORDER BY number DESC LIMIT 5
