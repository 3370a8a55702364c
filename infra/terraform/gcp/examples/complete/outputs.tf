output "canary" {
  description = "Revisions, and what share of the calls each gets."
  value       = module.omnisentinel.canary
}

output "function_url" {
  description = "Where ask answers."
  value       = module.omnisentinel.function_url
}

output "secrets" {
  description = "The secrets that need a value."
  value       = module.omnisentinel.secrets
}

output "settings" {
  description = "Variables for the command line on your machine."
  value       = module.omnisentinel.settings
}
