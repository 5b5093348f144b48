"""The paths of the API, one router a resource. A handler translates: parameters in, a call of the engine, JSON out."""
