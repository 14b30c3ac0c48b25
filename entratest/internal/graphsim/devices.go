package graphsim

import (
	"maps"

	"github.com/fobauth/fob/entratest/internal/directory"
)

var deviceType = &entityType{name: "device", set: "devices", bases: []string{"directoryObject"}, strict: true, keys: []string{"deviceId"},
	expands: []string{"memberOf", "registeredOwners", "registeredUsers", "transitiveMemberOf"},
	value:   func(v any, name string) (any, bool) { return deviceValue(v.(*directory.Device), name) }}

func deviceValue(d *directory.Device, name string) (any, bool) {
	switch name {
	case "id":
		return d.ID, true
	case "deviceId":
		return d.DeviceID, true
	case "displayName":
		return text(d.Name), true
	case "accountEnabled":
		return !d.Disabled, true
	case "operatingSystem":
		return text(d.OS), true
	case "operatingSystemVersion":
		return text(d.OSVersion), true
	case "trustType":
		return text(d.Trust), true
	case "isCompliant":
		return d.Compliant, true
	case "isManaged":
		return d.Managed, true
	case "deviceVersion":
		return 2, true
	case "profileType":
		return "RegisteredDevice", true
	case "registrationDateTime", "approximateLastSignInDateTime":
		return date(d.Registered), true
	}
	value, ok := d.More[name]
	return value, ok
}

func (c *call) devices() {
	c.list(deviceType, collection, func() []any { return all(c.World.Devices(c.tenant())) })
}

// findDevice looks a device up, or answers 404.
func (c *call) findDevice() (*directory.Device, bool) {
	d, ok := c.World.Device(c.tenant(), c.arg(0))
	if !ok {
		c.notFound(c.arg(0))
	}
	return d, ok
}

func (c *call) device() { c.one(deviceType) }

// deviceReadOnly are the properties of a device that it tells itself.
var deviceReadOnly = []string{"id", "deletedDateTime", "approximateLastSignInDateTime", "deviceId", "deviceVersion", "onPremisesLastSyncDateTime",
	"onPremisesSyncEnabled", "onPremisesSecurityIdentifier", "profileType", "registrationDateTime", "trustType", "isManagementRestricted"}

func (c *call) updateDevice() {
	given, ok := c.fields(deviceType, deviceReadOnly)
	if !ok {
		return
	}
	d, ok := c.findDevice()
	if !ok {
		return
	}
	next := *d
	next.More = maps.Clone(d.More)
	for _, f := range given {
		on, _ := f.value.(bool)
		switch f.name {
		case "accountEnabled":
			next.Disabled = !on
		case "isCompliant":
			next.Compliant = on
		case "isManaged":
			next.Managed = on
		case "displayName":
			next.Name = str(f.value)
		case "operatingSystem":
			next.OS = str(f.value)
		case "operatingSystemVersion":
			next.OSVersion = str(f.value)
		default:
			if next.More == nil {
				next.More = map[string]any{}
			}
			next.More[f.name] = f.value
		}
	}
	c.World.PutDevice(&next)
	c.noContent()
}

func (c *call) deleteDevice() {
	if d, ok := c.findDevice(); ok && c.noOptions() {
		c.World.DeleteDevice(c.tenant(), d.ID)
		c.noContent()
	}
}

// devicesOf are the devices that a user owns and uses.
func (c *call) devicesOf(u *directory.User) []any {
	var of []any
	for _, d := range c.World.Devices(c.tenant()) {
		if d.Owner == u.ID {
			of = append(of, d)
		}
	}
	return of
}
