output "alarm_topic_arn" {
  description = "Subscribe your pager to it."
  value       = module.omnisentinel.alarm_topic_arn
}

output "canary" {
  description = "What `omni deploy` moves to the new version step by step."
  value       = module.omnisentinel.canary
}

output "function_url" {
  description = "Where ask answers."
  value       = module.omnisentinel.function_url
}

output "key_arn" {
  description = "The key to encrypt the secrets with."
  value       = module.omnisentinel.key_arn
}

output "secrets" {
  description = "The secrets to create in Secrets Manager."
  value       = module.omnisentinel.secrets
}

output "settings" {
  description = "Variables for the command line on your machine."
  value       = module.omnisentinel.settings
}
