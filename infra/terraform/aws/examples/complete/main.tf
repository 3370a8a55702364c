# Everything that the module can be told, for a production account.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }

  # backend "s3" {
  #   bucket       = "example-terraform-state"
  #   key          = "omnisentinel/production.tfstate"
  #   region       = "eu-central-1"
  #   use_lockfile = true
  # }
}

provider "aws" {
  region = var.region
}

module "omnisentinel" {
  source = "../.."

  name             = var.name
  manifest         = var.manifest
  previous_secrets = var.previous_secrets
  region           = var.region # the plan fails where the provider is somewhere else
  tags             = { team = "data", cost-center = "4711" }

  environment = {
    SMTP_HOST = "email-smtp.${var.region}.amazonaws.com"
    SMTP_PORT = "587"
  }
  settings = { log_level = "INFO", max_rows = 50000, threads = 2 }

  memory_mb      = 1769 # a whole processor
  work_timeout_s = 600
  concurrency    = { ask = 20, watch = 10, work = 5 }
  url_auth       = "AWS_IAM"
  tracing        = true
  vpc            = var.vpc

  canary             = { enabled = true, minutes = 15, percent = 5 }
  alarm_emails       = var.alarm_emails
  alarms             = { ask_p99_ms = 5000, missed_sweep_minutes = 5 }
  budget_usd         = 50
  log_retention_days = 90
}
