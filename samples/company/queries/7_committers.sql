-- Commits of a repository by author.
SELECT author_login, count(*) AS commits
FROM github.commits WHERE repository = 'PyGithub/PyGithub'
GROUP BY author_login ORDER BY commits DESC, author_login LIMIT 5
