# The least that runs: a project's alerts on their schedules, and ask under a URL that takes API keys.
# `omni deploy aws` copies this file to deploy/aws/ of the project, where it is yours to change.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  # region = "eu-central-1"     otherwise AWS_REGION, or the profile's
}

module "omnisentinel" {
  source = "../.."

  manifest         = var.manifest
  previous_secrets = var.previous_secrets
  url_auth         = "NONE" # anyone may connect; every request needs an API key of the project

  # environment  = { CRM_URL = "https://crm.example.com" }   what the project refers to as ${CRM_URL}
  # alarm_emails = ["ops@example.com"]
}
