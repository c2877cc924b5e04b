// docs/service_config.json of Fanfare.
export const serviceConfig = {
  "methodConfig": [
    {
      "name": [{}],
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ]
};
