package main

var attempts = map[string]func() error{}
