// Package register registers the provider of the lab's secrets alone; the others are the clients of every cloud.
package register

import _ "github.com/external-secrets/external-secrets/pkg/provider/onepassword"
