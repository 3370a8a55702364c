# The least: a project, who hears alarms, where.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azapi = {
      source  = "Azure/azapi"
      version = ">= 2.0, < 3.0"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 5.0, < 6.0"
    }
  }
}

provider "azapi" {
  subscription_id = var.subscription_id
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true # the module's accounts have no keys

  features {
    storage {
      data_plane_available = false # who deploys gets roles on the data later, and on what is needed
    }
  }
}

variable "alarm_emails" {
  description = "Who is told when something fails."
  type        = list(string)
}

variable "manifest" {
  description = "Path of deployment.json; `omni deploy azure` sets it."
  type        = string
}

variable "region" {
  description = "Such as westeurope."
  type        = string
}

variable "subscription_id" {
  description = "The subscription, as `az account show` prints its id."
  type        = string
}

module "omnisentinel" {
  source = "../.."

  alarm_emails = var.alarm_emails
  manifest     = var.manifest
  region       = var.region
}

output "apps" {
  description = "What `omni deploy` wakes."
  value       = module.omnisentinel.apps
}

output "ask_url" {
  description = "Where the HTTP API is."
  value       = module.omnisentinel.ask_url
}

output "secrets" {
  description = "secret:NAME -> its name in the vault."
  value       = module.omnisentinel.secrets
}

output "settings" {
  description = "For `omni schedule` on this machine."
  value       = module.omnisentinel.settings
}

output "vault" {
  description = "Where the secrets go."
  value       = module.omnisentinel.vault
}

output "watch_url" {
  description = "What a timer made by hand calls."
  value       = module.omnisentinel.watch_url
}
