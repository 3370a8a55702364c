# Everything that can be said, with a canary of 5 % and a state that a team shares.

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

  # backend "azurerm" {
  #   resource_group_name  = "terraform"
  #   storage_account_name = "ourtfstate"
  #   container_name       = "state"
  #   key                  = "omnisentinel.tfstate"
  #   use_azuread_auth     = true
  # }
}

provider "azapi" {
  subscription_id = var.subscription_id
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true

  features {
    key_vault {
      purge_soft_delete_on_destroy = false
    }
    storage {
      data_plane_available = false # who deploys gets roles on the data later, and on what is needed
    }
  }
}

variable "canary_manifest" {
  description = "deployment.json of the version to try; null for none."
  type        = string
  default     = null
}

variable "crm_url" {
  description = "Of the CRM's database, without a password."
  type        = string
}

variable "manifest" {
  description = "Path of deployment.json; `omni deploy azure` sets it."
  type        = string
}

variable "subscription_id" {
  description = "The subscription, as `az account show` prints its id."
  type        = string
}

module "omnisentinel" {
  source = "../.."

  name      = "omni-prod"
  region    = "westeurope"
  residency = "europe"
  manifest  = var.manifest

  environment = {
    CRM_URL = var.crm_url
  }

  entra = {
    client_id = "00000000-0000-0000-0000-000000000001"
    tenant_id = "00000000-0000-0000-0000-000000000002"
  }

  canary = var.canary_manifest == null ? null : {
    manifest = var.canary_manifest
    percent  = 5
  }

  alarm_emails       = ["oncall@example.com", "data@example.com"]
  job_ttl_s          = 3 * 86400
  log_daily_cap_gb   = 2
  log_level          = "INFO"
  log_retention_days = 90
  max_instances      = 40
  memory_mb          = 2048
  monthly_budget     = 100
  purge_protection   = true
  replication        = "ZRS"
  tracing            = true
  work_timeout_s     = 600

  tags = {
    team        = "data"
    cost-center = "4711"
  }
}

output "omnisentinel" {
  description = "Everything that a person needs next."
  value       = module.omnisentinel
}
