package fob

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fobauth/fob/internal/origin"
)

// DeviceCode is the flow for a person who signs in on another screen: the
// program shows a code, the person enters it on a web page, the program polls
// (RFC 8628). The app registration needs "Allow public client flows".
type DeviceCode struct {
	// Prompt shows the code. It returns at once; polling goes on meanwhile.
	// An error ends the flow.
	Prompt func(ctx context.Context, prompt DeviceCodePrompt) error
}

// DeviceCodePrompt is what the person needs to see. Its texts are safe to
// print.
type DeviceCodePrompt struct {
	UserCode        string    // to be typed in
	VerificationURI string    // the page to open
	Message         string    // the server's sentence with both
	Expires         time.Time // when the code stops working
}

type deviceAnswer struct {
	DeviceCode      string  `json:"device_code"`
	UserCode        string  `json:"user_code"`
	VerificationURI string  `json:"verification_uri"`
	VerificationURL string  `json:"verification_url"` // Entra's v1 spelling
	Message         string  `json:"message"`
	ExpiresIn       seconds `json:"expires_in"`
	Interval        seconds `json:"interval"`
}

// Bounds of polling, where the server's word is missing or out of reason.
const (
	defaultInterval = 5 * time.Second // RFC 8628 section 3.2
	maxInterval     = 60 * time.Second
	slowDown        = 5 * time.Second // RFC 8628 section 3.5
	maxDeviceLife   = time.Hour
)

// Acquire asks for a code, shows it and polls at the server's interval until
// the person is done. It ends with the server's refusal, when the code
// expires, or when ctx ends. A 5xx answer or a lost connection only costs one
// interval.
func (f DeviceCode) Acquire(ctx context.Context, c *Client, req Request) (*Token, error) {
	if f.Prompt == nil {
		return nil, errors.New("the device code flow has no Prompt to show the code with")
	}
	authority := c.Authority.WithTenant(req.Tenant)
	if err := authority.Check(); err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, errors.New("no client id; give the Application (client) ID of your app registration")
	}
	form := url.Values{"client_id": {c.ID}, "scope": {c.scope(req, true)}}
	claims, err := c.claims(req)
	if err != nil {
		return nil, err
	}
	if claims != "" {
		form.Set("claims", claims)
	}
	body, err := c.post(ctx, authority.DeviceCodeEndpoint(), form)
	if err != nil {
		return nil, err
	}
	var answer deviceAnswer
	if err := decodeDevice(body, &answer); err != nil {
		return nil, &BadAnswerError{Host: hostOf(authority.DeviceCodeEndpoint()), Status: 200, Why: err.Error()}
	}

	expires := c.now().Add(min(time.Duration(answer.ExpiresIn)*time.Second, maxDeviceLife))
	prompt := DeviceCodePrompt{
		UserCode: clean(answer.UserCode), VerificationURI: answer.VerificationURI, Expires: expires,
		Message: clean(answer.Message),
	}
	if prompt.Message == "" {
		prompt.Message = fmt.Sprintf("To sign in, open %s and enter the code %s.", prompt.VerificationURI, prompt.UserCode)
	}
	if err := f.Prompt(ctx, prompt); err != nil {
		return nil, err
	}

	interval := defaultInterval
	if answer.Interval > 0 {
		interval = min(time.Duration(answer.Interval)*time.Second, maxInterval)
	}
	grant := url.Values{"grant_type": {grantDeviceCode}, "device_code": {answer.DeviceCode}}
	var trouble error // of the last poll
	for {
		if err := c.pause(ctx, interval); err != nil {
			return nil, err
		}
		switch {
		case c.now().Before(expires):
		case trouble != nil:
			return nil, fmt.Errorf("polling until the code expired: %w", trouble)
		default:
			return nil, &Error{Status: 400, Code: "expired_token", Grant: grantDeviceCode, Host: hostOf(authority.TokenEndpoint()),
				Description: "the code was not used in time; ask for a new one and enter it sooner"}
		}
		token, err := c.poll(ctx, req, grant)
		trouble = nil
		var refusal *Error
		switch {
		case err == nil:
			return token, c.checkSignIn(ctx, authority, token, "")
		case ctx.Err() != nil:
			return nil, err
		case errors.As(err, &refusal) && refusal.Code == "authorization_pending":
		case errors.As(err, &refusal) && refusal.Code == "slow_down":
			interval += slowDown
		case errors.Is(err, ErrUnavailable) && !isLasting(err):
			interval = max(interval, min(askedToWait(err), maxInterval))
			trouble = err
		default:
			return nil, err
		}
	}
}

// poll is one exchange with a time limit of its own, so that a server that
// does not answer costs one poll and not the sign-in.
func (c *Client) poll(ctx context.Context, req Request, grant url.Values) (*Token, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	return c.Exchange(ctx, req, grant)
}

func decodeDevice(body []byte, answer *deviceAnswer) error {
	if err := decodeObject(body, answer); err != nil {
		return err
	}
	answer.VerificationURI = orElse(answer.VerificationURI, answer.VerificationURL)
	switch page, err := url.Parse(answer.VerificationURI); {
	case answer.DeviceCode == "" || answer.UserCode == "" || answer.ExpiresIn == 0:
		return errors.New("it lacks device_code, user_code or expires_in")
	case err != nil || page.Scheme != "https" && !(page.Scheme == "http" && origin.IsLoopback(page.Hostname())) || clean(answer.VerificationURI) != answer.VerificationURI:
		return errors.New("its verification_uri is no https address")
	case strings.TrimSpace(answer.DeviceCode) != answer.DeviceCode || !isTokenText(answer.DeviceCode):
		return errors.New("its device_code has characters that no code has")
	}
	return nil
}
