package directory

import (
	"slices"
	"strings"
	"time"
)

// Device is a computer or a phone that a tenant knows.
type Device struct {
	ID, Tenant         string // object id; tenant id
	DeviceID           string // what the device calls itself
	Name               string
	OS, OSVersion      string
	Trust              string // AzureAd: joined; Workplace: registered
	Disabled           bool
	Compliant, Managed bool
	Owner              string // a user's object id, who is its user too
	Registered         time.Time
	More               map[string]any // further properties by the names that Graph has for them, as JSON values
}

// Devices returns the devices of a tenant, in the order of their registration.
func (w *World) Devices(tenant string) []*Device {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var ds []*Device
	for _, d := range w.devices {
		if d.Tenant == tenant {
			ds = append(ds, d)
		}
	}
	return ds
}

// Device returns the device of a tenant with this object id.
func (w *World) Device(tenant, id string) (*Device, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	i := w.device(tenant, id)
	if i < 0 {
		return nil, false
	}
	return w.devices[i], true
}

func (w *World) device(tenant, id string) int {
	return slices.IndexFunc(w.devices, func(d *Device) bool { return d.Tenant == tenant && strings.EqualFold(d.ID, id) })
}

// PutDevice adds d, or replaces the device with its id.
func (w *World) PutDevice(d *Device) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.ID = strings.ToLower(d.ID)
	w.devices = put(w.devices, d, func(o *Device) bool { return o.ID == d.ID })
}

// DeleteDevice removes a device and its memberships; it says whether there was
// one. A device is not deleted softly.
func (w *World) DeleteDevice(tenant, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.device(tenant, id)
	if i < 0 {
		return false
	}
	w.leaveGroups(w.devices[i].ID)
	w.devices = slices.Delete(w.devices, i, i+1)
	return true
}
